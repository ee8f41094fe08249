/** All units of a hidden layer as pictures of their weights, with what the input excites in them. */

import { AtlasDrawing } from "explorer/atlas_drawing.js";
import { announce, checkbox, counted, h, isCommand, menu, quiet, short, tools } from "explorer/dom.js";
import { darkScheme, largest, paintSheet } from "explorer/paint.js";
import { isDirect, rowsOf, whenIdle } from "explorer/rows.js";
import { onlyUnit, parseQuery, searchHelp, shownUnits } from "explorer/units.js";

const orders = [
  ["importance", "importance"], ["causal", "causal importance"], ["activation", "activation"], ["index", "index"],
  ["similarity", "similarity to the shown unit"],
];

/** Put the view on the page. */
export function mountAtlas(store, element) {
  store.set({ tile: firstTile(store) });
  const view = new AtlasView(store);
  element.append(...controls(store), search(store, view.count), view.note, view.box);
  view.lay();
}

class AtlasView {
  constructor(store) {
    Object.assign(this, { store, units: [], cursor: 0, hovered: null, focused: false });
    this.count = h("output", { class: "quiet number" });
    this.note = quiet();
    this.canvas = h("canvas");
    this.spacer = h("div", {}, this.canvas);
    this.tip = h("span", { class: "tip number", hidden: true });
    this.scroll = h("div", {
      class: "atlas-scroll", tabindex: 0, role: "application",
      "aria-label": "Units: the arrow keys move, Enter chooses",
    }, this.spacer);
    this.box = h("div", { class: "atlas-box" }, this.scroll, this.tip);
    this.drawing = new AtlasDrawing(this.canvas, store.session.input);
    this.listenToStore();
    this.listenToPointer();
    this.listenToKeys();
  }

  listenToStore() {
    const { store } = this;
    const repaint = () => this.paint();
    const later = whenIdle(repaint);
    store.on("layer drawn sharedScale masked", repaint);
    store.on("network", () => (isDirect(store, store.drawn) ? repaint() : later()));
    darkScheme.addEventListener("change", repaint);
    store.on("layer order query activeOnly network", () => this.arrange());
    store.on("unit", () => {
      if (store.order === "similarity") this.arrange();
      this.reveal(this.units.indexOf(store.unit));
      this.draw();
    });
    store.on("result", () => {
      const { order, activeOnly, query } = store;
      if (order === "activation" || activeOnly || /\bact/i.test(query)) this.arrange({ stay: true });
      else this.draw();
      if (!isDirect(store, store.drawn)) later();
    });
    store.on("tile", () => this.lay());
    // One frame later, so that a change of the box within is no loop.
    new ResizeObserver(() => requestAnimationFrame(() => this.lay())).observe(this.box);
  }

  /** Draw the pictures of all units, to be copied from at every change. */
  paint() {
    const { session, network, drawn, masked, sharedScale } = this.store;
    const rows = rowsOf(this.store, drawn);
    const reaches = reachesOf(rows, network.pixels, sharedScale);
    const lit = masked && drawn === "reads" ? session.lit : null;
    this.drawing.sheet = paintSheet(rows, session.input, reaches, lit);
    this.drawing.readColors();
    const scale = sharedScale ? `Colors are full at ±${short(reaches[0], 2)}.` : "Each unit has its own color scale.";
    this.note.textContent = isDirect(this.store, drawn)
      ? `${scale} ${session.signs} Bars are activations.`
      : `What a unit here ${drawn} depends on the input: the gradient at this input is shown. ${scale}`;
    this.draw();
  }

  /** Find out which units are shown, in their order. */
  arrange({ stay = false } = {}) {
    const { store } = this;
    this.units = shownUnits(store);
    const all = store.session.hiddenLayers[store.layer].units;
    const some = this.units.length === all ? "" : `${counted(this.units.length)} of `;
    this.count.textContent = `${some}${counted(all)} units`;
    if (!stay) {
      this.cursor = Math.max(0, this.units.indexOf(store.unit));
      this.scroll.scrollTop = 0;
    }
    this.lay();
  }

  /** Fit the columns to the box. */
  lay() {
    const { drawing, scroll, units, store } = this;
    this.spacer.style.height = `${drawing.lay(scroll.clientWidth, units.length, store.tile)}px`;
    drawing.resize(scroll.clientHeight);
    this.draw();
  }

  draw() {
    const { result, layer, surgery, unit } = this.store;
    this.drawing.draw(this.units, this.scroll.scrollTop, {
      activations: result.hidden[layer], chosen: unit, hovered: this.hovered,
      operated: new Set(surgery.filter((operation) => operation.layer === layer).map((operation) => operation.unit)),
      cursor: this.focused ? this.units[this.cursor] : null,
    });
  }

  describe(unit) {
    return `#${unit} activation ${short(this.store.result.hidden[this.store.layer][unit])}`;
  }

  listenToPointer() {
    const under = (event) => {
      const { left, top } = this.canvas.getBoundingClientRect();
      const place = this.drawing.placeAt(event.clientX - left, event.clientY - top + this.scroll.scrollTop);
      return this.units[place] ?? null;
    };
    this.canvas.addEventListener("pointermove", (event) => {
      if (event.pointerType === "mouse") this.hover(under(event), event);
    });
    this.canvas.addEventListener("pointerleave", () => this.hover(null));
    this.scroll.addEventListener("scroll", () => {
      this.hover(null);
      this.draw();
    });
    this.canvas.addEventListener("click", (event) => {
      const unit = under(event);
      if (unit !== null) this.choose(unit);
    });
  }

  hover(unit, event = null) {
    this.tip.hidden = unit === null;
    if (unit !== null) {
      this.tip.textContent = this.describe(unit);
      const { left, top, width } = this.box.getBoundingClientRect();
      this.tip.style.left = `${Math.min(event.clientX - left + 12, width - this.tip.offsetWidth - 4)}px`;
      this.tip.style.top = `${Math.max(event.clientY - top - 32, 2)}px`;
    }
    if (unit === this.hovered) return;
    this.hovered = unit;
    this.draw();
  }

  listenToKeys() {
    this.scroll.addEventListener("keydown", (event) => {
      if (isCommand(event) || this.units.length === 0) return;
      const { columns, linesInView } = this.drawing;
      const page = columns * linesInView;
      const by = {
        ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns, Home: -Infinity, End: Infinity,
        PageUp: -page, PageDown: page,
      }[event.key];
      if (by === undefined && event.key !== "Enter") return;
      event.preventDefault();
      if (by === undefined) this.choose(this.units[this.cursor]);
      else this.moveTo(this.cursor + by);
    });
    this.scroll.addEventListener("focus", () => {
      this.focused = this.scroll.matches(":focus-visible");
      if (this.focused) this.moveTo(this.cursor);
    });
    this.scroll.addEventListener("blur", () => {
      this.focused = false;
      this.draw();
    });
  }

  moveTo(place) {
    if (this.units.length === 0) return;
    this.focused = true;
    this.cursor = Math.min(Math.max(place, 0), this.units.length - 1);
    announce(this.describe(this.units[this.cursor]));
    this.reveal(this.cursor);
    this.draw();
  }

  choose(unit) {
    this.cursor = this.units.indexOf(unit);
    this.store.selectUnit(unit);
    announce(`${this.describe(unit)}, chosen`);
  }

  /** Scroll to the unit at a place, where it is not visible: by a little, or if it is far away to the middle. */
  reveal(place) {
    if (place < 0) return;
    const { top, bottom } = this.drawing.lineAt(place);
    const { scrollTop, clientHeight } = this.scroll;
    const missing = Math.max(scrollTop - top, bottom - scrollTop - clientHeight);
    if (missing <= 0) return;
    if (missing > 2 * (bottom - top)) this.scroll.scrollTop = (top + bottom - clientHeight) / 2;
    else this.scroll.scrollTop += top < scrollTop ? -missing : missing;
  }
}

/**
 * Sizes at which colors are full: one for each unit, or one for all, which one unit in twenty goes beyond: a single
 * strong one would leave all others pale.
 */
function reachesOf(rows, width, shared) {
  const reaches = Float32Array.from({ length: rows.length / width }, (_, unit) =>
    largest(rows.subarray(unit * width, (unit + 1) * width)));
  return shared ? reaches.fill(reaches.slice().sort()[Math.ceil(0.95 * reaches.length) - 1]) : reaches;
}

/** A width at which each pixel is as wide as the others; few units are drawn larger. */
function firstTile({ session, layer }) {
  const { width } = session.input;
  const { units } = session.hiddenLayers[layer];
  return Math.ceil((units > 64 ? 40 : units > 8 ? 72 : 120) / width) * width;
}

function controls(store) {
  const { session } = store;
  const layers = session.hiddenLayers.map(({ name, units }, layer) => [layer, `${name} · ${counted(units)}`]);
  const layer = menu("layer", layers, (value) => store.selectLayer(Number(value)));
  const order = menu("order", orders, (value) => store.set({ order: value }));
  const rows = [["reads", "what they read"], ["writes", "what they write"]];
  const drawn = menu("shows", rows, (value) => store.set({ drawn: value }));
  const size = h("input", {
    type: "range", min: 16, max: 160, step: 4, oninput: () => store.set({ tile: Number(size.value) }),
  });
  const active = checkbox("active only", (activeOnly) => store.set({ activeOnly }));
  const shared = checkbox("one color scale", (sharedScale) => store.set({ sharedScale }));
  const masked = checkbox(
    session.entry === "pixel" ? "gray unlit pixels" : "gray constant entries", (value) => store.set({ masked: value }));
  masked.label.title = "What is the same in all training samples: nothing was learned about it";
  store.on("layer order drawn tile activeOnly sharedScale masked", () => {
    layer.select.value = store.layer;
    order.select.value = store.order;
    drawn.select.value = store.drawn;
    size.value = store.tile;
    active.box.checked = store.activeOnly;
    shared.box.checked = store.sharedScale;
    masked.box.checked = store.masked;
    masked.label.hidden = store.drawn !== "reads" || session.lit.every((lit) => lit !== 0);
  });
  layer.label.hidden = layers.length < 2;
  const boxes = [active.label, shared.label, masked.label];
  return [tools(layer.label, order.label, drawn.label, h("label", {}, "size", size), ...boxes)];
}

function search(store, count) {
  const problem = h("p", { class: "warn", role: "status", id: "search-problem" });
  const read = () => {
    const { problem: sentence } = parseQuery(field.value, store);
    problem.textContent = sentence ?? "";
    store.set({ query: sentence === null ? field.value.trim() : "" });
  };
  const field = h("input", {
    type: "search", placeholder: "search: #37, dead, act>0.2 …", title: searchHelp, "aria-label": "Search the units",
    "aria-describedby": "search-problem", autocomplete: "off", spellcheck: "false", oninput: () => {
      read();
      const unit = onlyUnit(store);
      if (unit !== null) store.selectUnit(unit);
    },
  });
  store.on("query layer", () => {
    if (field.value.trim() === store.query || document.activeElement === field) return;
    field.value = store.query;
    read();
  });
  return h("div", {}, h("div", { class: "tools search" }, field, count), problem);
}
