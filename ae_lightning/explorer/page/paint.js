/**
 * Samples and weights as pictures: one canvas pixel for each cell, enlarged by CSS.
 *
 * A cell is a number, or three where an image has three channels: these are pictures in color, and of signed numbers
 * color about a middle gray. A vector is a block of cells, row by row.
 */

import { sizeOf } from "explorer/blocks.js";

/** Where the number with this index stands in a picture: column and row. */
export function cellOf(index, { width, height }) {
  return { column: index % width, row: Math.floor(index / width) % height };
}

/** Index of the first number at a place in a picture; null where there is none, as at the end of a vector. */
export function indexAt({ column, row }, input) {
  const { width, height } = input;
  if (column < 0 || row < 0 || column >= width || row >= height) return null;
  const index = Math.floor(row) * width + Math.floor(column);
  return index < sizeOf(input) ? index : null;
}

/** Where in a picture a mouse or finger is, in cells. The canvas shows one picture, without padding. */
export function placeUnder(event, canvas, { width, height }) {
  const box = canvas.getBoundingClientRect();
  // The border belongs to the box, and not to the picture.
  const column = ((event.clientX - box.left - canvas.clientLeft) / canvas.clientWidth) * width;
  return { column, row: ((event.clientY - box.top - canvas.clientTop) / canvas.clientHeight) * height };
}

/** Draw a sample: black at the lowest value of the data, white at the highest. Vectors of both signs have colors. */
export function paintSample(canvas, values, input) {
  const { low, high } = input;
  if (!input.is_image && low < 0) return paintSigned(canvas, values, input, Math.max(-low, high));
  const scale = 255 / (high - low || 1);
  return paint(canvas, input, grays, (index) => (values[index] - low) * scale);
}

/**
 * Draw signed numbers: red above zero, blue below.
 * @param {number} reach The size at which colors are full; by default that of the largest number.
 */
export function paintSigned(canvas, values, input, reach = largest(values)) {
  const scale = reach > 0 ? 127 / reach : 0;
  paint(canvas, input, signedColors(), levels(values, scale));
}

/**
 * Draw rows of signed numbers as tiles into one picture, several to a line.
 * @param {Float32Array} rows (units, pixels), flat.
 * @param {Float32Array} reaches For each row the size at which colors are full.
 * @param {?Uint8Array} lit Where this is 0 a cell is left gray: see the mask of the atlas.
 * @returns {{canvas: HTMLCanvasElement, columns: number}} Tile i stands in column i % columns.
 */
export function paintSheet(rows, input, reaches, lit = null) {
  const pixels = rows.length / reaches.length;
  const { width, height, planes } = input;
  const columns = Math.ceil(Math.sqrt((reaches.length * height) / width));
  const canvas = document.createElement("canvas");
  canvas.width = columns * width;
  canvas.height = Math.ceil(reaches.length / columns) * height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(canvas.width, canvas.height);
  const target = new Uint32Array(image.data.buffer);
  const offsets = Int32Array.from({ length: cells(input) }, (_, index) => {
    const { column, row } = cellOf(index, input);
    return row * canvas.width + column;
  });
  const isLit = new Uint8Array(offsets.length);
  lit?.forEach((one, index) => (isLit[index % isLit.length] |= one));
  const unlit = lit === null ? [] : offsets.filter((_, index) => !isLit[index]);
  const colors = signedColors();
  for (let unit = 0; unit < reaches.length; unit++) {
    const start = Math.floor(unit / columns) * height * canvas.width + (unit % columns) * width;
    const row = rows.subarray(unit * pixels, (unit + 1) * pixels);
    const scale = reaches[unit] > 0 ? 127 / reaches[unit] : 0;
    const colorAt = colorsOf(input, colors, levels(row, scale));
    for (let index = 0; index < offsets.length; index++) {
      // A million numbers at every snapshot: for one channel this is `colorAt`, written out.
      const level = 128.5 + row[index] * scale;
      target[start + offsets[index]] =
        planes === 1 ? colors[level > 0 ? (level < 255 ? level | 0 : 255) : 0] : colorAt(index);
    }
    for (const offset of unlit) target[start + offset] = grays[128];
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

const levels = (values, scale) => (index) => 128 + values[index] * scale;

const cells = (input) => Math.min(input.width * input.height, sizeOf(input));

function paint(canvas, input, colors, levelOf) {
  const { width, height } = input;
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const context = canvas.getContext("2d");
  const image = context.createImageData(width, height);
  const target = new Uint32Array(image.data.buffer);
  const colorAt = colorsOf(input, colors, levelOf);
  for (let index = cells(input) - 1; index >= 0; index--) target[index] = colorAt(index);
  context.putImageData(image, 0, 0);
}

/** The color of a cell by the level of its number, from 0 to 255; three levels are a color of their own. */
function colorsOf({ planes, width, height }, colors, levelOf) {
  const area = width * height;
  const level = (index) => {
    const value = levelOf(index) + 0.5;
    return value > 0 ? (value < 255 ? value | 0 : 255) : 0; // also NaN
  };
  if (planes === 1) return (index) => colors[level(index)];
  return (index) => packed([level(index), level(index + area), level(index + 2 * area)]);
}

// Colors as the four bytes of a pixel read as one number, on machines whose first byte is the lowest: all there are.
const packed = ([red, green, blue]) => ((255 << 24) | (blue << 16) | (green << 8) | red) >>> 0;
const grays = Uint32Array.from({ length: 256 }, (_, level) => packed([level, level, level]));

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
