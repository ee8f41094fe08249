/** Ways to change the input. Each gives new pixels and leaves the old ones as they were. */

/** Whether a brush with a soft edge draws on this input; on small ones and vectors it is a cell at a time. */
export const hasSoftBrush = ({ is_image: isImage, width }) => isImage && width > 16;

/** What erasing leaves: black in an image, and zero in a vector. */
export const background = ({ is_image: isImage, low, high }) => (isImage ? low : clamp(0, low, high));

/**
 * One stroke, from pressing the brush down to lifting it. Where it passes twice it covers no more than once, so that
 * slow and fast strokes look alike.
 */
export class Stroke {
  /** @param {Float32Array} pixels The input before. @param {number} size Width of the brush in cells. */
  constructor(pixels, input, value, size) {
    Object.assign(this, { pixels, input, value, size, before: pixels, soft: hasSoftBrush(input) });
    this.covered = new Float32Array(input.width * input.height);
  }

  /** Draw a line to a place in cells, in all channels of an image. @returns {Float32Array} The pixels now. */
  moveTo({ column, row }) {
    const { width, height } = this.input;
    const to = this.soft ? { x: column, y: row } : { x: Math.floor(column) + 0.5, y: Math.floor(row) + 0.5 };
    const from = this.last ?? to;
    const reach = this.soft ? this.size / 2 + 0.5 : 0.5;
    this.last = to;
    this.pixels = this.pixels.slice();
    const [left, right] = [Math.min(from.x, to.x) - reach - 1, Math.max(from.x, to.x) + reach];
    const [top, bottom] = [Math.min(from.y, to.y) - reach - 1, Math.max(from.y, to.y) + reach];
    for (let y = Math.max(0, Math.ceil(top)); y < Math.min(height, bottom); y++) {
      for (let x = Math.max(0, Math.ceil(left)); x < Math.min(width, right); x++) {
        const inside = reach - distance(x + 0.5, y + 0.5, from, to);
        this.cover(x, y, this.soft ? Math.min(inside, 1) : Number(inside >= 0));
      }
    }
    return this.pixels;
  }

  cover(x, y, part) {
    const cell = y * this.input.width + x;
    if (part <= this.covered[cell]) return;
    this.covered[cell] = part;
    for (let index = cell; index < this.pixels.length; index += this.covered.length) {
      this.pixels[index] = this.before[index] + part * (this.value - this.before[index]);
    }
  }
}

/** The input moved by whole cells; a vector moves along its numbers. */
export function shifted(pixels, input, right, down) {
  const { width, height, is_image: isImage } = input;
  return pixels.map((_, index) => {
    const column = (index % width) - right;
    const row = (Math.floor(index / width) % height) - down;
    const outside = isImage && (column < 0 || column >= width || row < 0 || row >= height);
    return (outside ? undefined : pixels[index - down * width - right]) ?? background(input);
  });
}

/** Bright for dark. */
export const inverted = (pixels, { low, high }) => pixels.map((value) => low + high - value);

/** Gaussian noise of a tenth of the range, within the range. */
export function noisy(pixels, { low, high }) {
  const normal = () => Math.sqrt(-2 * Math.log(1 - Math.random())) * Math.cos(2 * Math.PI * Math.random());
  return pixels.map((value) => clamp(value + 0.1 * (high - low) * normal(), low, high));
}

/**
 * An image file as input: as large as fits, gray unless the input has three channels. It never leaves the machine.
 * @param {Blob} file
 */
export async function readImage(file, { width, height, planes, low, high }) {
  const bitmap = await createImageBitmap(file);
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.fillRect(0, 0, width, height);
  context.imageSmoothingQuality = "high";
  const scale = Math.min(width / bitmap.width, height / bitmap.height);
  const [w, h] = [bitmap.width * scale, bitmap.height * scale];
  context.drawImage(bitmap, (width - w) / 2, (height - h) / 2, w, h);
  const { data } = context.getImageData(0, 0, width, height);
  return Float32Array.from({ length: planes * width * height }, (_, index) => {
    const plane = Math.floor(index / (width * height));
    const [red, green, blue] = data.subarray(4 * (index % (width * height)));
    const level = planes === 3 ? [red, green, blue][plane] : 0.299 * red + 0.587 * green + 0.114 * blue;
    return low + (level / 255) * (high - low);
  });
}

function distance(x, y, from, to) {
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const along = clamp(((x - from.x) * dx + (y - from.y) * dy) / (dx * dx + dy * dy || 1), 0, 1);
  return Math.hypot(x - from.x - along * dx, y - from.y - along * dy);
}

function clamp(value, low, high) {
  return Math.min(Math.max(value, low), high);
}
