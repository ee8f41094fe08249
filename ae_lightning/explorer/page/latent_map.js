/** View 7: the codes of the file's samples as points of a plane, the present input among them. */

import { announce, arrows, button, h, isCommand, menu, quiet } from "explorer/dom.js";
import { cleared, drawPoint, drawRing } from "explorer/map_drawing.js";
import { darkScheme, paintSample } from "explorer/paint.js";

const reach = 16;
const margin = 12;
const help = "Map of codes: arrows go to the nearest sample in their direction, Enter takes it as input";

/** Put the view into its element. */
export function mountMap(store, element) {
  if (store.session.maps.length > 0) new CodeMap(store).mount(element);
  else element.append(quiet("These codes have no map: not all of them are finite numbers."));
}

/** Two canvases on each other: points, drawn when the map itself changes, and rings, drawn with each input. */
class CodeMap {
  constructor(store) {
    Object.assign(this, { store, labels: store.session.labels, highlighted: null, pointed: null });
    this.points = h("canvas", { "aria-hidden": "true" });
    this.rings = h("canvas", { tabindex: 0, role: "application", "aria-label": help });
    this.card = h("div", { class: "map-card", hidden: true }, h("canvas", { class: "image" }), h("span"));
    this.note = quiet();
    this.legend = (store.session.manifest.samples.classes ?? []).map((name, number) =>
      button(name, () => this.highlight(number), { "aria-pressed": "false" }));
    for (const one of this.legend) one.prepend(h("canvas", { width: 24, height: 24, "aria-hidden": "true" }));
  }

  mount(element) {
    const { store, rings } = this;
    const { maps } = store.session;
    const choice = menu("Map", maps.map(({ name }, i) => [i, name]), (value) => this.choose(maps[value]));
    choice.label.hidden = maps.length === 1;
    element.append(h("div", { class: "tools legend" }, choice.label, ...this.legend),
      h("div", { class: "map-box" }, this.points, rings, this.card), this.note);
    const under = ({ offsetX, offsetY }) => this.nearest(([x, y]) => Math.hypot(x - offsetX, y - offsetY), reach);
    rings.addEventListener("pointermove", (event) => this.point(under(event)));
    rings.addEventListener("click", (event) => this.take(under(event)));
    for (const name of ["pointerleave", "blur"]) rings.addEventListener(name, () => this.point(null));
    rings.addEventListener("keydown", (event) => this.key(event));
    this.choose(maps[0]);
    store.on("result sample edited", () => this.drawRings());
    new ResizeObserver(() => this.draw()).observe(rings);
    darkScheme.addEventListener("change", () => this.draw());
  }

  choose(map) {
    this.map = map;
    this.ends = [0, 1].map((axis) => ends(map.xy.filter((_, i) => i % 2 === axis)));
    this.draw();
  }

  /** Make all other classes pale, or none. */
  highlight(number) {
    this.highlighted = this.highlighted === number ? null : number;
    this.legend.forEach((one, i) => one.setAttribute("aria-pressed", i === this.highlighted));
    this.draw();
  }

  isPale(point) {
    return this.highlighted !== null && this.labels[point] !== this.highlighted;
  }

  /** From the map's coordinates to CSS pixels, the second coordinate upwards. What lies outside is put at the edge. */
  place(xy) {
    const sizes = [this.rings.clientWidth, this.rings.clientHeight];
    const zoom = Math.min(...sizes.map((size, axis) => (size - 2 * margin) / this.ends[axis].span));
    return sizes.map((size, axis) => {
      const from = (xy[axis] - this.ends[axis].middle) * zoom;
      return Math.min(Math.max(size / 2 + (axis === 0 ? from : -from), 8), size - 8);
    });
  }

  draw() {
    const { xy } = this.map;
    const context = cleared(this.points);
    const size = Math.min(Math.max(this.points.clientWidth / 160, 2.2), 3.2);
    this.places = Array.from({ length: xy.length / 2 }, (_, i) => this.place(xy.subarray(2 * i, 2 * i + 2)));
    for (const pale of [true, false]) {
      context.globalAlpha = pale ? 0.12 : 0.8;
      this.places.forEach((place, point) => {
        if (this.isPale(point) === pale) drawPoint(context, this.labels?.[point] ?? 0, place, size);
      });
    }
    for (const [number, { firstChild }] of this.legend.entries()) {
      firstChild.width = 24; // empties it
      drawPoint(firstChild.getContext("2d"), number, [12, 12], 7);
    }
    this.drawRings();
  }

  drawRings() {
    const { store, rings, map } = this;
    cleared(rings);
    const present = this.present();
    if (present !== null) for (const radius of [9, 1]) drawRing(rings, present, "--ink", radius);
    if (this.pointed !== null) drawRing(rings, this.places[this.pointed], "--focus", 6);
    let ring = "The ring is the present input.";
    if (present === null) ring = "The present input is no sample, and this map has no place for others.";
    else if (map.axes === null && store.edited) ring = "The ring is the sample that the input was made from.";
    const far = this.ends.some(({ cut }) => cut) ? " Points at the edge lie farther out." : "";
    const text = `${ring}${far} Map: ${map.note}.`;
    if (this.note.textContent !== text) this.note.textContent = text;
  }

  /** Where the present input is: live where the axes are known, else where its sample is. */
  present() {
    const { mean, axes } = this.map;
    const { sample, session, result } = this.store;
    if (axes === null) return sample === null ? null : this.places[sample];
    const code = result.hidden[session.manifest.code];
    return this.place([0, code.length].map((start) =>
      code.reduce((sum, value, i) => sum + (value - mean[i]) * axes[start + i], 0)));
  }

  /** The point whose place has the least distance, below a limit; pale ones do not count. */
  nearest(distanceOf, limit = Infinity) {
    let [found, least] = [null, limit];
    this.places.forEach((place, point) => {
      const distance = this.isPale(point) ? Infinity : distanceOf(place);
      if (distance < least) [found, least] = [point, distance];
    });
    return found;
  }

  take(point) {
    if (point === null) return;
    this.store.selectSample(point);
    announce(`Input: ${this.nameOf(point)}.`);
  }

  nameOf(point) {
    const name = this.store.session.className(point);
    return `sample ${point}${name === null ? "" : `, class ${name}`}`;
  }

  /** Point at a sample: its image stands beside it. */
  point(point) {
    if (point === this.pointed) return;
    this.pointed = point;
    const { card, rings } = this;
    card.hidden = point === null;
    if (point !== null) {
      const { session } = this.store;
      paintSample(card.firstChild, session.sample(point), session.input);
      card.lastChild.textContent = this.nameOf(point);
      const [left, top] = this.places[point];
      const beside = (at, size, room) => `${at + margin + size > room ? at - margin - size : at + margin}px`;
      card.style.left = beside(left, card.offsetWidth, rings.clientWidth);
      card.style.top = beside(top, card.offsetHeight, rings.clientHeight);
    }
    this.drawRings();
  }

  key(event) {
    if (isCommand(event)) return;
    if (event.key in arrows) this.walk(arrows[event.key]);
    else if (event.key === "Enter") this.take(this.pointed);
    else return;
    event.preventDefault();
  }

  /** Go to the point that is nearest in a direction; what lies aside counts as farther. */
  walk([right, down]) {
    const from = this.places[this.pointed] ?? this.present() ?? [0, 0];
    const found = this.nearest(([left, top]) => {
      const [x, y] = [left - from[0], top - from[1]];
      const [along, aside] = [x * right + y * down, Math.abs(x * down + y * right)];
      return along > 0.5 && aside <= along ? along + 2 * aside : Infinity;
    });
    if (found === null) return;
    this.point(found);
    announce(this.nameOf(found));
  }
}

/** What an axis shows: all values but a few far out, which would press the others together. */
function ends(values) {
  const sorted = values.sort();
  const [least, most] = [sorted[0], sorted.at(-1)];
  const [near, far] = [0.01, 0.99].map((part) => sorted[Math.round((sorted.length - 1) * part)]);
  const [low, high] = [Math.max(near - 0.4 * (far - near), least), Math.min(far + 0.4 * (far - near), most)];
  return { middle: (low + high) / 2, span: high - low || 1, cut: low > least || high < most };
}
