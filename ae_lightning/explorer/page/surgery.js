/** View 5: switch units off, clamp or scale them, and see what becomes of the error. */

import { button, counted, h, menu, quiet, short, signed, tools } from "explorer/dom.js";
import { meanSquaredError } from "explorer/network.js";
import { paintSigned } from "explorer/paint.js";
import { mountRemovalCurve } from "explorer/removal.js";
import { ranked } from "explorer/store.js";

const listed = 12;

/** Put the view into its element. */
export function mountSurgery(store, element) {
  const change = h("p", { class: "number error-change", role: "status" });
  element.append(change);
  mountUnit(store, element);
  if (store.session.hiddenLayers.some(({ activation }) => activation === "topk")) {
    element.append(quiet("A unit that is switched off leaves its place empty: no other one fires instead."));
  }
  mountSeveral(store, element);
  mountList(store, element);
  const [restore, undo] = [button("Restore all", () => store.restoreAll()), button("Undo", () => store.undo())];
  element.append(tools(restore, undo));
  mountRemovalCurve(store, element);
  store.on("result past", () => {
    change.textContent = describeChange(store);
    restore.disabled = store.surgery.length === 0;
    undo.disabled = store.past.length === 0;
  });
}

function describeChange(store) {
  if (store.surgery.length === 0) return `Error ${short(store.error)}, with all units as they are.`;
  const before = meanSquaredError(store.network.forward(store.input).output, store.input);
  const more = store.error - before;
  return `Error ${short(before)} → ${short(store.error)} (${signed(more)})`;
}

/** What can be done to the shown unit. */
function mountUnit(store, element) {
  const act = (kind) => (value, remember) =>
    store.operate({ layer: store.layer, unit: store.unit, kind, value }, { remember });
  const title = h("span", { class: "number" });
  const off = button("Switch off", () => store.toggle(store.layer, store.unit));
  const clamp = slider("Clamp to", act("clamp"));
  const scale = slider("Scale by", act("scale"));
  scale.limit(-2, 3);
  element.append(tools(off, title), h("div", {}, clamp.element, scale.element));

  store.on("result unit layer", () => {
    const { unit, layer } = store;
    const { kind, value } = store.operationOn(layer, unit) ?? {};
    const activation = store.result.hidden[layer][unit];
    title.textContent = `Unit ${unit}: activation ${short(activation)}`;
    off.textContent = kind ? "Restore" : "Switch off";
    off.setAttribute("aria-pressed", kind === "off");
    clamp.limit(...range(store));
    clamp.show(activation);
    scale.show(kind === "scale" ? value : kind === "off" ? 0 : 1);
  });
}

/** Lowest and highest value of the shown unit on test samples, or of its layer if it never answers. */
function range({ session, layer, unit }) {
  const { low, high } = session.units[layer];
  const [least, most] = [Math.min(low[unit], 0), Math.max(high[unit], 0)];
  return most > least ? [least, most] : [0, high.reduce((a, b) => Math.max(a, b), 0) || 1];
}

/** A number and a slider. Both call `act(value, remember)`; one movement of the slider is one thing to undo. */
function slider(text, act, digits = 3, between = "") {
  let moving = false;
  const bar = h("input", {
    type: "range", "aria-label": `${text}, slider`,
    oninput: () => {
      act(Number(bar.value), !moving);
      moving = true;
    },
    onchange: () => (moving = false),
  });
  const field = h("input", {
    type: "number", step: "any",
    onchange: () => Number.isFinite(field.valueAsNumber) && act(field.valueAsNumber, true),
  });
  const limit = (low, high, step = 10 ** Math.floor(Math.log10((high - low) / 100))) => {
    [bar.min, bar.max, bar.step] = [low, high, step];
  };
  const show = (value) => {
    field.value = Number(value.toPrecision(digits));
    // What is being dragged is not to be changed under the hand.
    if (!moving) bar.value = value;
  };
  const label = h("label", {}, h("span", {}, text), field);
  return { element: h("div", { class: "slide" }, label, between, bar), limit, show };
}

/** The slider that switches the first units of an order off, so many as it says. */
function mountSeveral(store, element) {
  let order = [];
  const off = (unit) => ({ layer: store.layer, unit, kind: "off", value: 0 });
  const switchOff = (value, remember) => {
    const number = Math.min(Math.max(Math.round(value), 0), order.length);
    const instead = order.slice(number, leading(store, order)).map(off);
    store.operateAll(order.slice(0, number).map(off), { instead, remember });
  };
  const end = menu("", [["most", "most important"], ["least", "least important"]], () => update());
  end.select.setAttribute("aria-label", "Which are switched off");
  const count = slider("Switch off", switchOff, 6, end.select);
  element.append(h("h3", {}, "Several at once"), count.element);
  const update = () => {
    order = ranked(store.importance);
    if (end.select.value === "least") order.reverse();
    count.limit(0, order.length, 1);
    count.show(leading(store, order));
  };
  store.on("layer snapshot", update);
  store.on("surgery", () => count.show(leading(store, order)));
}

/** How many units from the first on are off. */
function leading({ surgery, layer }, order) {
  const off = new Set(surgery.filter((one) => one.layer === layer && one.kind === "off").map(({ unit }) => unit));
  const on = order.findIndex((unit) => !off.has(unit));
  return on < 0 ? order.length : on;
}

/** What is done at present, each with a button that ends it; the last ones first. */
function mountList(store, element) {
  const list = h("ul", { class: "operations", "aria-label": "Operations" });
  const more = quiet();
  element.append(list, more);
  store.on("surgery network", () => {
    const { surgery } = store;
    const before = [...list.children].indexOf(document.activeElement?.closest(".operations li"));
    list.replaceChildren(...surgery.slice(-listed).reverse().map((operation) => listItem(store, operation)));
    list.hidden = surgery.length === 0;
    more.textContent = surgery.length > listed ? `… and ${counted(surgery.length - listed)} more.` : "";
    // The item with the focus may be gone: its successor gets it, so that the keyboard does not start anew.
    const next = list.children[Math.min(before, list.children.length - 1)] ?? element;
    if (before >= 0) next.querySelector("button").focus();
  });
}

function listItem(store, operation) {
  const { layer, unit } = operation;
  const { hiddenLayers, input } = store.session;
  const show = () => {
    store.selectLayer(layer);
    store.selectUnit(unit);
  };
  let image = null;
  if (store.network.readsDirectly(layer)) {
    image = h("canvas", { class: "image tiny", "aria-hidden": "true" });
    paintSigned(image, store.network.row(layer, unit), input);
  }
  const where = hiddenLayers.length > 1 ? ` ${hiddenLayers[layer].name}` : "";
  return h("li", {}, image, button(`#${unit}${where}`, show, { class: "link" }),
    h("span", { class: "number" }, describe(operation)),
    button("×", () => store.restore(layer, unit), { class: "icon", title: `Restore unit ${unit}` }));
}

function describe({ kind, value }) {
  return { off: "off", clamp: `= ${short(value)}`, scale: `× ${short(value)}` }[kind];
}
