/** What this file holds of a run: its manifest, its samples, its networks at each snapshot, its numbers on units. */

import { Blocks, readManifest, sizeOf } from "explorer/blocks.js";
import { Network } from "explorer/network.js";

const schema = 1;
// A network of 1,024 units takes 6 MB as float32: enough of them for playing, and little memory.
const networksKept = 4;

export class Session {
  constructor(manifest, blocks) {
    this.manifest = manifest;
    this.blocks = blocks;
    this.networks = new Map();
    const { input } = manifest;
    this.input = input;
    /** How pictures of signed numbers are read. */
    this.signs = input.planes === 3 ? "Gray is zero, in each channel." : "Red is positive, blue negative.";
    this.pixels = sizeOf(input);
    /** What one of them is called, and with its article. */
    this.entry = input.is_image ? "pixel" : "entry";
    this.anEntry = input.is_image ? "a pixel" : "an entry";
    this.hiddenLayers = manifest.layers.slice(0, -1);
  }

  /**
   * Read what the first view needs.
   * @throws {Error} Its message is meant for a person.
   */
  static async open(page) {
    const manifest = readManifest(page, "explorer", schema);
    const session = new Session(manifest, new Blocks(page, manifest.blocks));
    const { samples, input } = manifest;
    [session.values, session.labels, session.lit] = await Promise.all(
      [samples.values, samples.labels, input.lit].map((name) => session.blocks.read(name)),
    );
    session.units = await Promise.all(manifest.units.map((layer) => session.readAll(layer)));
    session.importances = await Promise.all(
      manifest.snapshots.map(({ importance }) => Promise.all(importance.map((name) => session.blocks.read(name)))),
    );
    session.maps = await Promise.all(manifest.maps.map((map) => session.readAll(map, ["xy", "mean", "axes"])));
    await session.network(manifest.final);
    return session;
  }

  /** One of the file's test samples as the network sees it. */
  sample(index) {
    const { scale, shift } = this.manifest.samples;
    const stored = this.values.subarray(index * this.pixels, (index + 1) * this.pixels);
    // In float32 like the data module, whose products and sums are rounded one after the other.
    return Float32Array.from(stored, (value) => Math.fround(value * Math.fround(scale)) + Math.fround(shift));
  }

  /** The number of the sample's class, or null. */
  classOf(index) {
    return this.labels === null || index === null ? null : this.labels[index];
  }

  /** The name of the sample's class, or null. */
  className(index) {
    const number = this.classOf(index);
    return number === null ? null : this.manifest.samples.classes[number];
  }

  /** The snapshot whose optimizer step is nearest. */
  nearestSnapshot(step) {
    const distances = this.manifest.snapshots.map((snapshot) => Math.abs(snapshot.step - step));
    return distances.indexOf(Math.min(...distances));
  }

  /**
   * The network at a snapshot.
   * @returns {Promise<Network>}
   */
  network(index) {
    const known = this.networks.get(index);
    this.networks.delete(index);
    const network = known ?? this.readNetwork(index);
    this.networks.set(index, network); // the most recently used come last
    const old = [...this.networks.keys()].filter((other) => other !== this.manifest.final);
    for (const other of old.slice(0, -networksKept)) this.networks.delete(other);
    return network;
  }

  async readNetwork(index) {
    const { layers } = this.manifest.snapshots[index];
    return new Network(await Promise.all(layers.map((layer, number) => this.readLayer(layer, number))));
  }

  async readLayer({ weight, scale, relative, bias, parameters }, number) {
    const [stored, scales, biases] = await Promise.all([weight, scale, bias].map((name) => this.blocks.read(name)));
    const base = relative ? (await this.network(this.manifest.final)).layers[number].weight : null;
    const { units, activation, threshold } = this.manifest.layers[number];
    const inputs = number === 0 ? this.pixels : this.manifest.layers[number - 1].units;
    const values = scales === null ? stored : scaled(stored, scales, base);
    const named = Object.keys(parameters).filter((name) => typeof parameters[name] === "string");
    const own = await this.readAll(parameters, named);
    return { weight: values, bias: biases, inputs, units, activation, threshold, parameters: own };
  }

  /** Replace those values of an object that name blocks by their arrays. */
  async readAll(object, names = Object.keys(object)) {
    const arrays = await Promise.all(names.map((name) => this.blocks.read(object[name])));
    return { ...object, ...Object.fromEntries(names.map((name, i) => [name, arrays[i]])) };
  }
}

/** Rows of bytes times the scale of each row, plus the final weights where they are differences from these. */
function scaled(bytes, scales, base) {
  const width = bytes.length / scales.length;
  const values = new Float32Array(bytes.length);
  for (let row = 0, i = 0; row < scales.length; row++) {
    const scale = scales[row];
    for (const end = i + width; i < end; i++) values[i] = bytes[i] * scale;
  }
  if (base !== null) for (let i = 0; i < values.length; i++) values[i] += base[i];
  return values;
}
