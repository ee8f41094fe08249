/**
 * What the page shows at this moment, and everything that can be done to it.
 *
 * Views read the properties, call the methods, and listen with `on`. A change is computed and shown at once, so that
 * a stroke of the pen and its reconstruction are one moment. Names that can be listened to are those of the
 * properties in `initial`, and "result", which changes with the input, the network and the surgery.
 */

import { meanSquaredError } from "explorer/network.js";
import { Observable } from "explorer/observable.js";
import { openingUnit } from "explorer/opening.js";

const initial = {
  /** @type {?number} The sample that the input was taken from, edited or not; null for a dropped image. */
  sample: 0,
  /** @type {boolean} Whether the input differs from the sample. */
  edited: false,
  /** Number of the hidden layer whose units are shown. */
  layer: 0,
  /** The unit shown in the panel. */
  unit: 0,
  /** @type {?{side: "input"|"output", index: number}} */
  pixel: null,
  /** Which snapshot's network computes; an index into the manifest's snapshots. */
  snapshot: 0,
  /** @type {?number} A second snapshot, shown beside the first. */
  compared: null,
  /** Whether the unit or its rank is kept when another snapshot is shown. */
  follow: "unit",
  /** @type {import("./network.js").Operation[]} */
  surgery: [],
  /** importance, causal, activation, index or similarity. */
  order: "importance",
  query: "",
  /** reads or writes: which of their rows the units are drawn as. */
  drawn: "writes",
  activeOnly: false,
  sharedScale: true,
  masked: false,
  /** Width of an image in the atlas, in CSS pixels. */
  tile: 44,
  /** What the mouse or a finger does on the input: pick, draw or erase. */
  tool: "pick",
  playing: false,
  /** @type {?string} A sentence about what went wrong last. */
  problem: null,
};

const undone = ["input", "sample", "edited", "surgery"];
const stepsBack = 100;

export class Store extends Observable {
  /**
   * @param {import("./session.js").Session} session
   * @param {import("./network.js").Network} network That of the checkpoint.
   */
  constructor(session, network) {
    super();
    this.session = session;
    this.network = network;
    this.checkpoint = network;
    this.opening = [];
    this.past = [];
    this.asked = 0;
    const { final, code } = session.manifest;
    Object.assign(this, initial, { snapshot: final, layer: code, unit: this.openingUnit(code) });
    this.input = session.sample(0);
    this.compute();
  }

  derive(changed) {
    if (!changed.some((name) => ["input", "network", "surgery"].includes(name))) return [];
    this.compute();
    return ["result"];
  }

  compute() {
    this.result = this.network.forward(this.input, this.surgery);
    this.error = meanSquaredError(this.result.output, this.input);
  }

  // --- the input ---------------------------------------------------------------------------------------------------

  selectSample(index) {
    const count = this.session.manifest.samples.count;
    const sample = Math.min(Math.max(Math.trunc(index), 0), count - 1);
    if (sample === this.sample && !this.edited) return; // at an end there is nothing to undo
    this.remember();
    this.set({ sample, edited: false, input: this.session.sample(sample) });
  }

  /** Take other pixels as input. A stroke is many calls and one thing to undo: it remembers at its start only. */
  edit(input, { remember = true, sample = this.sample } = {}) {
    if (remember) this.remember();
    this.set({ input, sample, edited: true });
  }

  // --- surgery -----------------------------------------------------------------------------------------------------

  /** Do something to a unit, instead of what was done to it before. A moving slider remembers at its start only. */
  operate(operation, options = {}) {
    this.operateAll([operation], options);
  }

  /**
   * Do something to several units, as one step that can be undone.
   * @param {import("./network.js").Operation[]} operations
   * @param {{instead?: import("./network.js").Operation[], remember?: boolean}} options `instead` is no longer done.
   */
  operateAll(operations, { instead = [], remember = true } = {}) {
    if (remember) this.remember();
    const nameOf = ({ layer, unit }) => `${layer}:${unit}`;
    const replaced = new Set([...instead, ...operations].map(nameOf));
    this.set({ surgery: [...this.surgery.filter((other) => !replaced.has(nameOf(other))), ...operations] });
  }

  /** Let a unit be as it was. */
  restore(layer, unit) {
    const operation = this.operationOn(layer, unit);
    if (!operation) return;
    this.remember();
    this.set({ surgery: this.surgery.filter((other) => other !== operation) });
  }

  restoreAll() {
    if (this.surgery.length === 0) return;
    this.remember();
    this.set({ surgery: [] });
  }

  toggle(layer, unit) {
    if (this.operationOn(layer, unit)) this.restore(layer, unit);
    else this.operate({ layer, unit, kind: "off", value: 0 });
  }

  /** What is done to a unit; undefined if nothing. */
  operationOn(layer, unit) {
    return this.surgery.find((operation) => operation.layer === layer && operation.unit === unit);
  }

  // --- undo --------------------------------------------------------------------------------------------------------

  remember() {
    this.past.push(Object.fromEntries(undone.map((name) => [name, this[name]])));
    if (this.past.length > stepsBack) this.past.shift();
  }

  undo() {
    const before = this.past.pop();
    if (before) this.set(before);
  }

  // --- units and snapshots -----------------------------------------------------------------------------------------

  selectUnit(unit) {
    const last = this.session.hiddenLayers[this.layer].units - 1;
    this.set({ unit: Math.min(Math.max(Math.trunc(unit), 0), last), problem: null });
  }

  /** The unit with which a layer is opened. */
  openingUnit(layer) {
    return (this.opening[layer] ??= openingUnit(this.session, this.checkpoint, layer));
  }

  selectLayer(layer) {
    const last = this.session.hiddenLayers.length - 1;
    const chosen = Math.min(Math.max(layer, 0), last);
    if (chosen !== this.layer) this.set({ layer: chosen, unit: this.openingUnit(chosen), query: "" });
  }

  /** Importance of the units of the shown layer at the shown snapshot. */
  get importance() {
    return this.session.importances[this.snapshot][this.layer];
  }

  /** Compute with the network of another snapshot. Asked for again before it is decoded, only the last one counts. */
  async showSnapshot(index) {
    const last = this.session.manifest.snapshots.length - 1;
    const snapshot = Math.min(Math.max(Math.trunc(index), 0), last);
    const asked = ++this.asked;
    try {
      const network = await this.session.network(snapshot);
      if (asked === this.asked) this.set({ network, snapshot, unit: this.followed(snapshot), problem: null });
    } catch (error) {
      this.set({ problem: error.message, playing: false });
    }
  }

  /** The unit to show at another snapshot: the same, or the one that has its rank there. */
  followed(snapshot) {
    if (this.follow === "unit") return this.unit;
    const there = this.session.importances[snapshot][this.layer];
    return ranked(there)[ranked(this.importance).indexOf(this.unit)];
  }
}

/** Numbers of units, the largest value first; equal ones in the order of their numbers, NaN last. */
export function ranked(values) {
  const size = (unit) => (Number.isNaN(values[unit]) ? -Infinity : values[unit]);
  return Array.from(values, (_, unit) => unit).sort((a, b) => size(b) - size(a) || a - b);
}
