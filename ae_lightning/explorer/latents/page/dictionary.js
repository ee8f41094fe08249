/** What this file holds of a dictionary: numbers on all latents, and some of them in full, with their samples. */

import { Blocks, readManifest } from "explorer/blocks.js";
import { Sheets } from "explorer/sheets.js";

const schema = 1;
const none = 0xffffffff;

export class Dictionary {
  /**
   * Read the file.
   * @throws {Error} Its message is meant for a person.
   */
  static async open(page) {
    const manifest = readManifest(page, "latents", schema);
    const blocks = new Blocks(page, manifest.blocks);
    const names = Object.keys(manifest.arrays);
    const arrays = await Promise.all(names.map((name) => blocks.read(manifest.arrays[name])));
    return new Dictionary(manifest, blocks, Object.fromEntries(names.map((name, i) => [name, arrays[i]])));
  }

  constructor(manifest, blocks, arrays) {
    this.manifest = manifest;
    this.arrays = arrays;
    this.latents = manifest.latents;
    this.sheets = manifest.picture && new Sheets(manifest.picture, blocks);
  }

  /** Whether a latent is shown in full on this page. */
  holds(latent) {
    const { first, count } = this.manifest;
    return latent >= first && latent < first + count;
  }

  /** The file in which a latent is shown in full; null for this one. */
  fileOf(latent) {
    if (this.holds(latent)) return null;
    return this.manifest.pages.find(({ first, count }) => latent >= first && latent < first + count).file;
  }

  /** The part of an array with a row for each latent of this page that belongs to one of them; null without it. */
  row(name, latent) {
    const values = this.arrays[name];
    if (!values) return null;
    const width = values.length / this.manifest.count;
    const start = (latent - this.manifest.first) * width;
    return values.subarray(start, start + width);
  }

  /** The name of a class by its number; null without one. */
  className(number) {
    return number === undefined || number < 0 ? null : this.manifest.classes[number];
  }

  /** The class that a latent answers most strongly on average; null without one. */
  preferred(latent) {
    return this.className(this.arrays.preferred?.[latent]);
  }

  /** The tokens that a latent fires hardest on, the most frequent first: their places among the page's texts. */
  strongNumbers(latent) {
    const { strong } = this.arrays;
    if (!strong) return [];
    const width = strong.length / this.latents;
    return [...strong.subarray(latent * width, (latent + 1) * width)].filter((token) => token !== none);
  }

  /** Their texts. */
  strong(latent) {
    return this.strongNumbers(latent).map((token) => this.manifest.tokens[token]);
  }

  /**
   * The samples that excite a latent most.
   * @returns {Array<{pair: number, sample: number, value: number, position: number, name: ?string, picture: ?number}>}
   */
  samples(latent) {
    const top = this.row("top", latent);
    const [values, positions, classes, pictures] = ["top_value", "top_position", "top_class", "top_picture"]
      .map((name) => this.row(name, latent));
    const found = Array.from(top, (sample, rank) => ({
      pair: (latent - this.manifest.first) * top.length + rank, sample, value: values[rank],
      position: positions[rank], name: this.className(classes?.[rank]), picture: pictures?.[rank] ?? null,
    }));
    return found.filter(({ sample }) => sample !== none);
  }

  /** A latent's activations along a sample: positions, and values as parts of its largest one. */
  shades(pair) {
    const { shade_offsets: offsets, shade_position: positions, shade_value: values } = this.arrays;
    if (!offsets) return { positions: [], parts: [] };
    const [start, end] = [offsets[pair], offsets[pair + 1]];
    return { positions: positions.subarray(start, end), parts: Float32Array.from(values.subarray(start, end), (v) => v / 255) };
  }

  /**
   * The tokens around a sample's strongest one.
   * @returns {{tokens: Array<{text: string, part: number, position: number}>, begins: boolean, ends: boolean}} Whether
   * the sample begins and ends with them.
   */
  window(pair) {
    const { window, window_offsets: offsets, window_start: starts, sample_length: lengths } = this.arrays;
    const tokens = Array.from(window.subarray(offsets[pair], offsets[pair + 1]), (token, i) => (
      { text: this.manifest.tokens[token], part: 0, position: starts[pair] + i }));
    const { positions, parts } = this.shades(pair);
    positions.forEach((position, i) => (tokens[position].part = parts[i]));
    return { tokens, begins: starts[pair] === 0, ends: starts[pair] + tokens.length >= lengths[pair] };
  }
}
