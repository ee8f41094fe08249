/**
 * Samples and weights as pictures: one canvas pixel for each number, enlarged by CSS.
 *
 * The planes of an image of several channels stand side by side; a vector is a block of cells, row by row.
 */

/** Width and height of a picture of one sample, in cells. */
export function pictureSize({ planes, width, height }) {
  return { width: planes * width, height };
}

/** Where the number with this index stands in a picture: column and row. */
export function cellOf(index, { width, height }) {
  const plane = Math.floor(index / (width * height));
  const within = index - plane * width * height;
  return { column: plane * width + (within % width), row: Math.floor(within / width) };
}

/** Index of the number in a cell; null where a cell is empty, as at the end of a vector, or outside. */
export function indexOf(column, row, { width, height, planes, shape }) {
  if (column < 0 || row < 0 || column >= planes * width || row >= height) return null;
  const plane = Math.floor(column / width);
  const index = (plane * height + row) * width + (column - plane * width);
  return index < shape.reduce((product, size) => product * size, 1) ? index : null;
}

/** Index of the number under a mouse or finger, or null. The canvas shows one picture, without padding. */
export function indexUnder(event, canvas, input) {
  const box = canvas.getBoundingClientRect();
  const { width, height } = pictureSize(input);
  // The border belongs to the box, and not to the picture.
  const column = Math.floor(((event.clientX - box.left - canvas.clientLeft) / canvas.clientWidth) * width);
  const row = Math.floor(((event.clientY - box.top - canvas.clientTop) / canvas.clientHeight) * height);
  return indexOf(column, row, input);
}

/** Draw samples: black at the lowest value of the data, white at the highest. Vectors of both signs have colors. */
export function paintGray(canvas, values, input) {
  if (!input.is_image && input.low < 0) return paintSigned(canvas, values, input, Math.max(-input.low, input.high));
  const scale = 255 / (input.high - input.low || 1);
  return paint(canvas, input, (index) => grays[clamped((values[index] - input.low) * scale)]);
}

/**
 * Draw signed numbers: red above zero, blue below.
 * @param {number} reach The size at which colors are full; by default that of the largest number.
 * @param {?Uint8Array} lit Where this is 0 the cell is left gray: see the mask of the atlas.
 */
export function paintSigned(canvas, values, input, reach = largest(values), lit = null) {
  const colors = signedColors();
  const scale = reach > 0 ? 127 / reach : 0;
  const isMasked = (index) => lit !== null && lit[index] === 0;
  paint(canvas, input, (index) => (isMasked(index) ? masked : colors[clamped(128 + values[index] * scale)]));
}

/**
 * Draw rows of signed numbers as tiles into one picture, several to a line.
 * @param {Float32Array} rows (units, pixels), flat.
 * @param {Float32Array} reaches For each row the size at which colors are full.
 * @returns {{canvas: HTMLCanvasElement, columns: number}} Tile i stands in column i % columns.
 */
export function paintSheet(rows, input, reaches, lit = null) {
  const pixels = rows.length / reaches.length;
  const { width, height } = pictureSize(input);
  const columns = Math.ceil(Math.sqrt((reaches.length * height) / width));
  const canvas = document.createElement("canvas");
  canvas.width = columns * width;
  canvas.height = Math.ceil(reaches.length / columns) * height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  const target = new Uint32Array(image.data.buffer);
  const colors = signedColors();
  const offsets = Int32Array.from({ length: pixels }, (_, index) => {
    const { column, row } = cellOf(index, input);
    return row * canvas.width + column;
  });
  const unlit = lit === null ? [] : offsets.filter((_, index) => lit[index] === 0);
  for (let unit = 0, from = 0; unit < reaches.length; unit++) {
    const start = Math.floor(unit / columns) * height * canvas.width + (unit % columns) * width;
    const scale = reaches[unit] > 0 ? 127 / reaches[unit] : 0;
    // A million numbers at every snapshot: this is `clamped`, written out.
    for (let index = 0; index < pixels; index++) {
      const level = 128.5 + rows[from++] * scale;
      target[start + offsets[index]] = colors[level > 0 ? (level < 255 ? level | 0 : 255) : 0];
    }
    for (let i = 0; i < unlit.length; i++) target[start + unlit[i]] = masked;
  }
  context.putImageData(image, 0, 0);
  return { canvas, columns };
}

/** The largest size among numbers; those that are not finite do not count. */
export function largest(values) {
  let most = 0;
  for (let i = 0; i < values.length; i++) {
    const size = Math.abs(values[i]);
    if (size > most && size < Infinity) most = size;
  }
  return most;
}

export const darkScheme = matchMedia("(prefers-color-scheme: dark)");

function paint(canvas, input, colorOf) {
  const { width, height } = pictureSize(input);
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const target = new Uint32Array(image.data.buffer);
  const pixels = input.shape.reduce((product, size) => product * size, 1);
  for (let index = 0; index < pixels; index++) {
    const { column, row } = cellOf(index, input);
    target[row * width + column] = colorOf(index);
  }
  context.putImageData(image, 0, 0);
}

function clamped(value) {
  return value > 0 ? (value < 255 ? Math.round(value) : 255) : 0; // also NaN
}

// Colors as the four bytes of a pixel read as one number, on machines whose first byte is the lowest: all there are.
const packed = ([red, green, blue]) => ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
const grays = Uint32Array.from({ length: 256 }, (_, level) => packed([level, level, level]));
const masked = packed([128, 128, 128]);

const ramps = {
  light: { negative: [[5, 48, 97], [67, 147, 195]], zero: [250, 250, 250], positive: [[214, 96, 77], [103, 0, 31]] },
  dark: { negative: [[186, 222, 255], [67, 140, 200]], zero: [22, 24, 29], positive: [[206, 88, 70], [255, 205, 185]] },
};
const tables = {};

/** 256 colors from the most negative to the most positive number, for the light or the dark scheme. */
function signedColors() {
  const scheme = darkScheme.matches ? "dark" : "light";
  tables[scheme] ??= Uint32Array.from({ length: 256 }, (_, i) => packed(signedColor(ramps[scheme], (i - 128) / 127)));
  return tables[scheme];
}

function signedColor({ negative, zero, positive }, value) {
  const stops = value < 0 ? [zero, negative[1], negative[0]] : [zero, ...positive];
  const place = Math.min(Math.abs(value), 1) * 2;
  const first = Math.min(Math.floor(place), 1);
  const [from, to] = [stops[first], stops[first + 1]];
  return from.map((level, channel) => Math.round(level + (to[channel] - level) * (place - first)));
}
