/** One unit's weights at every snapshot, without the rest of the networks: as stored bytes they take little memory. */

export class History {
  /** @param {import("./session.js").Session} session */
  constructor(session) {
    this.session = session;
    this.known = new Map();
  }

  /**
   * A unit's row of a layer's weight at each snapshot; the layer's bytes are kept until another one is asked for.
   * @returns {Promise<Float32Array[]>}
   * @throws {import("./blocks.js").DamagedBlock}
   */
  async rows(layer, unit) {
    if (this.layer !== layer) this.known.clear();
    this.layer = layer;
    const { manifest } = this.session;
    const final = (await this.session.network(manifest.final)).row(layer, unit);
    return Promise.all(manifest.snapshots.map(async ({ layers }, index) => {
      if (index === manifest.final) return final;
      const { weight, scale, relative } = layers[layer];
      const [stored, scales] = await Promise.all([this.block(weight), this.block(scale)]);
      const factor = scales?.[unit] ?? 1;
      return final.map((value, i) => stored[unit * final.length + i] * factor + (relative ? value : 0));
    }));
  }

  /** A block; what is being read is not read twice. */
  block(name) {
    if (!this.known.has(name)) this.known.set(name, this.session.blocks.read(name));
    return this.known.get(name);
  }
}
