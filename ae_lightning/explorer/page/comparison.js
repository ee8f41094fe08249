/** Two snapshots side by side: the shown unit, the reconstruction, and the most important units of both. */

import { button, counted, h, quiet, short } from "explorer/dom.js";
import { meanSquaredError } from "explorer/network.js";
import { largest, paintSample, paintSigned } from "explorer/paint.js";
import { pictureWithCaption } from "explorer/pictures.js";
import { whenIdle } from "explorer/rows.js";
import { ranked } from "explorer/store.js";

const best = 8;

/** Put the comparison at the end of an element; it is hidden while no second snapshot is chosen. */
export function mountComparison(store, element) {
  const sides = [side("now"), side("other")];
  const note = quiet();
  const box = h("div", { hidden: true }, h("div", { class: "beside" }, ...sides.map((one) => one.element)), note);
  element.append(box);
  let other = null;

  const draw = () => {
    if (store.compared === null || other === null) return;
    showSide(store, sides[0], store.snapshot, store.unit, store.network, store.result);
    const unit = store.followed(store.compared);
    showSide(store, sides[1], store.compared, unit, other, other.forward(store.input, store.surgery));
    note.textContent = describeNote(store);
  };
  // What a deep network's unit reads and writes at this input takes a moment: it waits until the pen rests.
  const later = whenIdle(draw, 60);
  store.on("compared", async () => {
    const asked = store.compared;
    other = null;
    box.hidden = asked === null;
    if (asked === null) return;
    try {
      const network = await store.session.network(asked);
      if (store.compared === asked) other = network;
      draw();
    } catch (error) {
      store.set({ problem: error.message, compared: null });
    }
  });
  store.on("unit layer follow snapshot", draw);
  store.on("result", () => (store.network.layers.length > 2 ? later() : draw()));
}

function describeNote(store) {
  const { snapshots } = store.session.manifest;
  const isRounded = (index) => snapshots[index].layers.some(({ scale }) => scale !== null);
  const rounded = isRounded(store.snapshot) || isRounded(store.compared);
  const bytes = rounded ? " Weights of earlier snapshots are stored as bytes, so their numbers are rounded." : "";
  return `Both with the same input and surgery.${bytes}`;
}

function side(name) {
  const [reads, writes, output] = ["reads", "writes", "reconstruction"].map((text) => pictureWithCaption(text));
  const title = h("h3");
  const numbers = h("p", { class: "number" });
  const units = h("p", { class: "best" });
  const pictures = h("div", { class: "pictures" }, reads.figure, writes.figure, output.figure);
  const element = h("div", { class: `side-${name}` }, title, pictures, numbers,
    quiet("Most important units"), units);
  return { element, title, reads, writes, output, numbers, units };
}

function showSide(store, { title, reads, writes, output, numbers, units }, snapshot, unit, network, result) {
  const { layer, session } = store;
  const { input } = session;
  title.textContent = `Step ${counted(session.manifest.snapshots[snapshot].step)}`;
  for (const [picture, row] of [
    [reads, network.readRows(result, layer, unit)], [writes, network.writeRows(result, layer, unit)],
  ]) {
    paintSigned(picture.canvas, row, input);
    picture.range.textContent = `±${short(largest(row), 2)}`;
  }
  paintSample(output.canvas, result.output, input);
  const error = meanSquaredError(result.output, store.input);
  numbers.textContent = `Error ${short(error)} · unit ${unit}: ${short(result.hidden[layer][unit])}`;
  const top = ranked(session.importances[snapshot][layer]).slice(0, best);
  const shown = top.join(" ");
  if (units.dataset.units === shown) return;
  units.dataset.units = shown;
  units.replaceChildren(...top.map((one) => button(`#${one}`, () => store.selectUnit(one), { class: "link" })));
}
