/**
 * A chain of dense layers, computed as PyTorch computes it: what a hidden layer gives is h = f(sum), the
 * reconstruction is the output of the last layer. All values of one input are kept, so that it can be taken apart.
 *
 * The first layer's weight has a row for each of its units: what the unit reads, over pixels. Every other layer's
 * has a row for each unit of the layer before: what that unit writes. Units are numbered within their hidden layer.
 */

import { activated, slopesOf } from "explorer/activations.js";

/**
 * @typedef {Object} Layer
 * @property {Float32Array} weight Rows as said above, flat.
 * @property {Float32Array} bias One number for each unit.
 * @property {number} inputs
 * @property {number} units
 * @property {string} activation
 * @property {?number} threshold
 * @property {Object<string, number|boolean|Float32Array>} parameters Of an activation that selects, see `codes`.
 *
 * @typedef {Object} Operation What is done to one unit in surgery.
 * @property {number} layer
 * @property {number} unit
 * @property {"off"|"clamp"|"scale"} kind
 * @property {number} value What it is set to, or multiplied by.
 *
 * @typedef {Object} Result What one input gives.
 * @property {Float32Array} input
 * @property {Float32Array[]} sums What each layer's activation function is applied to.
 * @property {Float32Array[]} hidden Activations of each hidden layer, after surgery.
 * @property {Float32Array} output The reconstruction.
 * @property {Operation[]} surgery
 */

export class Network {
  /** @param {Layer[]} layers */
  constructor(layers) {
    this.layers = layers;
    this.last = layers.length - 1;
    this.pixels = layers[0].inputs;
  }

  /** @returns {Result} */
  forward(input, surgery = []) {
    const sums = [];
    const hidden = [];
    let values = input;
    for (const [number, layer] of this.layers.entries()) {
      const sum = number === 0 ? readSums(layer, values) : writtenSums(layer, values);
      values = activated(layer, sum);
      sums.push(sum);
      if (number < this.last) {
        operate(values, number, surgery);
        hidden.push(values);
      }
    }
    return { input, sums, hidden, output: values, surgery };
  }

  /** The sums of the last layer, when a hidden layer has these values and what follows is computed. */
  sumAfter(number, values, surgery = []) {
    let sum = null;
    for (let next = number + 1; next <= this.last; next++) {
      sum = writtenSums(this.layers[next], values);
      if (next < this.last) {
        values = activated(this.layers[next], sum);
        operate(values, next, surgery);
      }
    }
    return sum;
  }

  /**
   * What one unit adds to the reconstruction of this input, before the output's activation function: the sum with
   * the unit less the sum without it. For a unit of the last hidden layer this is its activation times its row.
   */
  contribution(result, number, unit) {
    const activation = result.hidden[number][unit];
    if (number === this.last - 1) {
      return this.row(this.last, unit).map((weight) => activation * weight);
    }
    const without = this.sumAfter(number, replaced(result.hidden[number], unit, 0), result.surgery);
    return result.sums[this.last].map((sum, pixel) => sum - without[pixel]);
  }

  /** The reconstruction of this input without one unit. */
  outputWithout(result, number, unit) {
    const values = replaced(result.hidden[number], unit, 0);
    return activated(this.layers[this.last], this.sumAfter(number, values, result.surgery));
  }

  /**
   * How the value of one output pixel comes about: bias + Σ parts = sum, and value = f(sum).
   * @returns {{bias: number, parts: Float32Array, sum: number, value: number}} A part for each unit of the last
   * hidden layer: its activation times its weight to the pixel.
   */
  waterfall(result, pixel) {
    const { weight, bias, units } = this.layers[this.last];
    const parts = result.hidden[this.last - 1].map((activation, unit) => activation * weight[unit * units + pixel]);
    return { bias: bias[pixel], parts, sum: result.sums[this.last][pixel], value: result.output[pixel] };
  }

  /** How strongly each unit of the first hidden layer reads one input pixel: weights, and weights times the pixel. */
  readers(result, pixel) {
    const { weight, units } = this.layers[0];
    const weights = new Float32Array(units);
    for (let unit = 0; unit < units; unit++) weights[unit] = weight[unit * this.pixels + pixel];
    return { weights, parts: weights.map((w) => w * result.input[pixel]) };
  }

  /** One stored row of a layer's weight. */
  row(number, index) {
    const { weight, inputs, units } = this.layers[number];
    const width = number === 0 ? inputs : units;
    return weight.subarray(index * width, (index + 1) * width);
  }

  /** Whether what units of this hidden layer read is their weight, whatever the input. */
  readsDirectly(number) {
    return number === 0;
  }

  /** Whether what units of this hidden layer write is their weight, whatever the input. */
  writesDirectly(number) {
    return number === this.last - 1;
  }

  /**
   * What the units of a hidden layer read, (units, pixels), or one of them: the weights of the first layer; of a later
   * one the gradient of each unit's sum with respect to the pixels, at this input.
   */
  readRows(result, number, unit = null) {
    let rows = this.reading(number);
    if (unit !== null) rows = rows.subarray(...[unit, unit + 1].map((row) => row * this.layers[number].inputs));
    for (let before = number - 1; before >= 0; before--) {
      rows = product(rows, slopes(this, result, before), this.reading(before));
    }
    return rows;
  }

  /**
   * What the units of a hidden layer write, (units, pixels), or one of them: the weights of the last layer; of an
   * earlier one the gradient of the output's sums with respect to each unit's activation, at this input.
   */
  writeRows(result, number, unit = null) {
    let rows = unit === null ? this.layers[number + 1].weight : this.row(number + 1, unit);
    for (let next = number + 1; next < this.last; next++) {
      rows = product(rows, slopes(this, result, next), this.layers[next + 1].weight);
    }
    return rows;
  }

  /** The weight of a layer with a row for each of its units. */
  reading(number) {
    const { weight, inputs, units } = this.layers[number];
    return number === 0 ? weight : transposed(weight, inputs, units);
  }
}

/** Mean squared error over the entries of the input. */
export function meanSquaredError(a, b) {
  let total = 0;
  for (let i = 0; i < a.length; i++) total += (a[i] - b[i]) ** 2;
  return total / a.length;
}

/** Inner product divided by the norms; 0 where a row is zero. */
export function cosine(a, b) {
  let inner = 0, aa = 0, bb = 0;
  for (let i = 0; i < a.length; i++) {
    inner += a[i] * b[i];
    aa += a[i] * a[i];
    bb += b[i] * b[i];
  }
  return aa > 0 && bb > 0 ? inner / Math.sqrt(aa * bb) : 0;
}

export function norm(row) {
  return Math.sqrt(row.reduce((total, value) => total + value * value, 0));
}

function readSums({ weight, bias, inputs, units }, values) {
  const sums = new Float32Array(units);
  for (let unit = 0; unit < units; unit++) {
    const start = unit * inputs;
    let sum = bias[unit];
    for (let i = 0; i < inputs; i++) sum += weight[start + i] * values[i];
    sums[unit] = sum;
  }
  return sums;
}

function writtenSums({ weight, bias, inputs, units }, values) {
  const sums = Float32Array.from(bias);
  for (let input = 0; input < inputs; input++) {
    const value = values[input];
    if (value === 0) continue; // most activations of a sparse code are
    const start = input * units;
    for (let unit = 0; unit < units; unit++) sums[unit] += value * weight[start + unit];
  }
  return sums;
}

function operate(values, number, surgery) {
  for (const { layer, unit, kind, value } of surgery) {
    if (layer === number) values[unit] = kind === "off" ? 0 : kind === "clamp" ? value : values[unit] * value;
  }
}

function replaced(values, index, value) {
  const copy = values.slice();
  copy[index] = value;
  return copy;
}

/** d activation / d sum of each unit of a hidden layer; a unit that surgery has set no longer answers. */
function slopes(network, result, number) {
  const values = slopesOf(network.layers[number], result.sums[number]);
  for (const { layer, unit, kind, value } of result.surgery) {
    if (layer === number) values[unit] = kind === "scale" ? values[unit] * value : 0;
  }
  return values;
}

function transposed(weight, rows, columns) {
  const flipped = new Float32Array(weight.length);
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) flipped[column * rows + row] = weight[row * columns + column];
  }
  return flipped;
}

/** left (rows, inner) · diag(scale) · right (inner, width), all flat. */
function product(left, scale, right) {
  const inner = scale.length;
  const width = right.length / inner;
  const answer = new Float32Array((left.length / inner) * width);
  for (let row = 0; row * width < answer.length; row++) {
    const target = row * width;
    for (let k = 0; k < inner; k++) {
      const factor = left[row * inner + k] * scale[k];
      if (factor === 0) continue;
      const source = k * width;
      for (let i = 0; i < width; i++) answer[target + i] += factor * right[source + i];
    }
  }
  return answer;
}
