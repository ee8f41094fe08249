/** One unit: what it reads and writes, what it does now, and what it does on the test samples. */

import { codes } from "explorer/codes.js";
import { button, counted, h, quiet, savePicture, short, signed, tools } from "explorer/dom.js";
import { cosine, meanSquaredError, norm } from "explorer/network.js";
import { darkScheme, largest, paintSigned } from "explorer/paint.js";
import { facts, gridClass, labelledPicture, pictureWithCaption, placeMark } from "explorer/pictures.js";
import { isDirect, rowOf, whenIdle } from "explorer/rows.js";
import { ranked } from "explorer/store.js";
import { unitParts } from "explorer/unit_parts.js";
import { stepUnit } from "explorer/units.js";

const names = [
  "activation", "sum", "fires above", "error without it", "importance", "causal importance", "mean activation",
  "active in", "bias", "norm of reads", "norm of writes", "their cosine",
];

/** Put the view on the page. */
export function mountUnitPanel(store, element) {
  const panel = new UnitPanel(store);
  element.append(panel.body);
  store.on("unit layer network", () => panel.showUnit());
  store.on("result unit layer", () => panel.showNow());
  store.on("surgery unit layer", () => panel.showSurgery());
  store.on("pixel unit", () => panel.showPixel());
  darkScheme.addEventListener("change", () => panel.repaint());
}

class UnitPanel {
  constructor(store) {
    const { input } = store.session;
    this.store = store;
    this.title = h("h3", { class: "unit-title" });
    this.off = button("", () => store.toggle(store.layer, store.unit));
    this.reads = pictureWithCaption("reads");
    this.writes = pictureWithCaption("writes");
    this.adds = pictureWithCaption("adds", { title: "What the unit adds to the reconstruction of this input" });
    this.note = quiet();
    this.facts = facts(names);
    this.facts.list.title = "Importance: norm of reads × mean |activation| × norm of writes. "
      + "Causal importance: growth of the mean error without the unit.";
    this.parts = unitParts(store);
    this.later = whenIdle(() => this.showRows());
    const figures = [this.reads, this.writes, this.adds].map(({ figure }) => figure);
    const step = (sign, by, title) => button(sign, () => stepUnit(store, by), { title, class: "icon" });
    this.body = h("div", {},
      tools(this.title,
        h("span", { class: "joined" }, step("‹", -1, "Previous unit"), step("›", 1, "Next unit")),
        this.off, button("save picture", () => this.save())),
      h("div", { class: gridClass("unit-images", input) }, ...figures),
      this.note, this.facts.list, ...this.parts.elements);
  }

  /** What changes with the unit or the network only. */
  showUnit() {
    const { store } = this;
    const { unit, layer, session, network } = store;
    const { causal, mean, density } = session.units[layer];
    const { show } = this.facts;
    const withRank = (values) => `${short(values[unit])}, rank ${counted(ranked(values).indexOf(unit) + 1)}`;
    const several = session.hiddenLayers.length > 1;
    this.title.textContent = `#${unit}${several ? ` of ${session.hiddenLayers[layer].name}` : ""}`;
    show("importance", withRank(store.importance));
    show("causal importance", withRank(causal));
    show("mean activation", short(mean[unit]));
    show("active in", `${short(100 * density[unit])}% of samples`);
    show("bias", short(network.layers[layer].bias[unit]));
    const gradients = ["reads", "writes"].filter((side) => !isDirect(store, side));
    this.direct = gradients.length === 0;
    this.note.textContent = this.direct ? ""
      : `Layers lie between this unit and pixels: what it ${gradients.join(" and ")} is the gradient at this input.`;
    // Gradients take time: while snapshots play they wait for a pause.
    const key = `${layer}:${unit}`;
    if (this.direct || key !== this.key) this.showRows();
    else this.later();
    this.parts.showUnit(key !== this.key);
    this.key = key;
  }

  showRows() {
    const { store } = this;
    const [reads, writes] = ["reads", "writes"].map((side) => {
      const row = rowOf(store, side, store.unit);
      paintSigned(this[side].canvas, row, store.session.input);
      this[side].range.textContent = `±${short(largest(row), 2)}`;
      this.facts.show(`norm of ${side}`, short(norm(row)));
      return row;
    });
    this.facts.show("their cosine", short(cosine(reads, writes)));
    this.parts.showPixels(reads, writes);
  }

  /** What changes with every stroke: this is to be quick. */
  showNow() {
    const { unit, layer, network, result, session, input, error } = this.store;
    const activation = result.hidden[layer][unit];
    const added = network.contribution(result, layer, unit);
    paintSigned(this.adds.canvas, added, session.input);
    this.adds.range.textContent = activation === 0 ? "nothing" : `±${short(largest(added), 2)}`;
    const without = activation === 0 ? error : meanSquaredError(network.outputWithout(result, layer, unit), input);
    const more = without - error;
    this.facts.show("activation", short(activation));
    this.showLimit();
    this.facts.show("error without it", `${short(without)} (${signed(more, 2)})`);
    this.parts.showActivation(activation);
    if (!this.direct) this.later();
  }

  /** Where the activation selects: what it selects by, and what the unit has to exceed. */
  showLimit() {
    const { unit, layer, network, result } = this.store;
    const { activation, parameters } = network.layers[layer];
    const sums = result.sums[layer];
    const limit = codes[activation]?.limit(sums, unit, parameters);
    this.facts.show("sum", limit === undefined ? "" : short(sums[unit]));
    this.facts.show("fires above", limit === undefined ? "" : short(limit));
  }

  showSurgery() {
    const operated = this.store.operationOn(this.store.layer, this.store.unit) !== undefined;
    this.off.textContent = operated ? "restore" : "switch off";
    this.off.setAttribute("aria-pressed", operated);
  }

  showPixel() {
    const { pixel, session } = this.store;
    for (const [{ mark }, side] of [[this.reads, "input"], [this.writes, "output"], [this.adds, "output"]]) {
      placeMark(mark, pixel?.side === side ? pixel.index : null, session.input);
    }
  }

  /** In the colors of the other scheme. */
  repaint() {
    this.key = null;
    this.showUnit();
    this.showNow();
  }

  save() {
    const { session: { manifest }, snapshot, result, layer, unit } = this.store;
    const pictures = ["reads", "writes", "adds"].map((name) => (
      { canvas: this[name].canvas, text: `${name} ${this[name].range.textContent}` }));
    const activation = short(result.hidden[layer][unit]);
    const { step } = manifest.snapshots[snapshot];
    const title = `${manifest.title} · step ${step} · unit ${this.title.textContent} · activation ${activation}`;
    savePicture(labelledPicture(title, pictures), `unit_${layer}_${unit}`);
  }
}
