/** All latents as a list: search, order, how often they fire, and a glimpse of what each is about. */

import { histogramChart, moveMarker } from "explorer/charts.js";
import { announce, counted, h, isCommand, menu, short, tools } from "explorer/dom.js";
import { orders, parseQuery, searchHelp } from "explorer/query.js";
import { glimpse, percent } from "explorer/words.js";

// Lines beyond the visible ones that are kept ready.
const spare = 8;
// What a bar of full length, and one of none, stand for: powers of ten.
const [mostOften, leastOften] = [0, -6];
const binsPerDecade = 4;

/** Put the view on the page. */
export function mountList(store, element) {
  const view = new ListView(store);
  element.append(search(store), controls(store, view.count), view.box, spread(store));
  view.lay();
}

class ListView {
  constructor(store) {
    Object.assign(this, { store, cursor: 0 });
    this.count = h("output", { class: "quiet number" });
    this.spacer = h("div", { class: "list-lines" });
    this.box = h("div", {
      class: "list-box", tabindex: 0, role: "listbox", "aria-label": "Latents: the arrow keys move, Enter chooses",
    }, this.spacer);
    this.box.addEventListener("scroll", () => this.draw());
    this.box.addEventListener("keydown", (event) => this.listen(event));
    this.spacer.addEventListener("click", (event) => this.click(event));
    new ResizeObserver(() => requestAnimationFrame(() => this.lay())).observe(this.box);
    store.on("shown", () => this.arrange());
    store.on("latent", () => this.follow());
  }

  arrange() {
    const { shown, dictionary } = this.store;
    const some = shown.length === dictionary.latents ? "" : `${counted(shown.length)} of `;
    this.count.textContent = `${some}${counted(dictionary.latents)}`;
    this.box.scrollTop = 0;
    this.follow();
    this.lay();
  }

  /** Bring the shown latent into view. */
  follow() {
    this.cursor = Math.max(0, this.store.shown.indexOf(this.store.latent));
    this.reveal();
    this.draw();
  }

  /** Find out how high a line is: it follows from the style. */
  lay() {
    this.height = parseFloat(getComputedStyle(this.box).getPropertyValue("--line-height")) || 44;
    this.spacer.style.height = `${this.store.shown.length * this.height}px`;
    if (!this.isLaid && this.box.clientHeight > 0) {
      this.isLaid = true;
      this.reveal();
    }
    this.draw();
  }

  draw() {
    const { shown, latent } = this.store;
    const first = Math.max(0, Math.floor(this.box.scrollTop / this.height) - spare);
    const last = Math.min(shown.length, Math.ceil((this.box.scrollTop + this.box.clientHeight) / this.height) + spare);
    const lines = shown.slice(first, last).map((each, i) => this.line(each, first + i, each === latent));
    this.spacer.replaceChildren(...lines);
    this.box.setAttribute("aria-activedescendant", `latent-${shown[this.cursor]}`);
  }

  line(latent, place, isChosen) {
    const { dictionary, shown } = this.store;
    const density = dictionary.arrays.density[latent];
    const bar = h("i", { class: "list-bar" });
    const decades = Math.max(Math.log10(density), leastOften) - leastOften;
    bar.style.width = density === 0 ? "0" : `${Math.max(2, (100 * decades) / (mostOften - leastOften))}%`;
    const line = h("div", {
      class: `list-line${place === this.cursor ? " cursor" : ""}`, role: "option", id: `latent-${latent}`,
      "aria-selected": String(isChosen), "aria-setsize": shown.length, "aria-posinset": place + 1,
    },
    h("span", { class: "list-number number" }, `#${latent}`), glimpse(dictionary, latent),
    h("span", { class: "list-often number" }, density === 0 ? "dead" : percent(density)),
    h("span", { class: "list-track" }, bar));
    line.style.top = `${place * this.height}px`;
    return line;
  }

  /** A line under the mouse may have been drawn anew since the button went down: its place is what counts. */
  click(event) {
    const place = Math.floor((event.clientY - this.spacer.getBoundingClientRect().top) / this.height);
    if (place >= 0 && place < this.store.shown.length) this.choose(place);
  }

  listen(event) {
    if (isCommand(event) || this.store.shown.length === 0) return;
    const page = Math.max(1, Math.floor(this.box.clientHeight / this.height));
    const by = { ArrowUp: -1, ArrowDown: 1, PageUp: -page, PageDown: page, Home: -Infinity, End: Infinity }[event.key];
    if (by === undefined && event.key !== "Enter") return;
    event.preventDefault();
    if (by === undefined) return this.choose(this.cursor);
    this.cursor = Math.min(Math.max(this.cursor + by, 0), this.store.shown.length - 1);
    this.reveal();
    this.draw();
  }

  choose(place) {
    this.cursor = place;
    this.store.select(this.store.shown[place]);
    this.draw();
    announce(`Latent ${this.store.shown[place]}, chosen`);
  }

  /** Scroll to the cursor where it is not visible. */
  reveal() {
    const { box, cursor, height } = this;
    if (!height || box.clientHeight === 0) return;
    const top = cursor * height;
    if (top < box.scrollTop || top + height > box.scrollTop + box.clientHeight) {
      const far = top + 2 * height < box.scrollTop || top - height > box.scrollTop + box.clientHeight;
      box.scrollTop = far ? top - box.clientHeight / 3 : top < box.scrollTop ? top : top + height - box.clientHeight;
    }
  }
}

function search(store) {
  const { dictionary } = store;
  const problem = h("p", { class: "warn", role: "status", id: "search-problem" });
  const read = () => {
    const { only, problem: sentence } = parseQuery(field.value, dictionary);
    problem.textContent = sentence ?? "";
    store.set({ query: sentence === null ? field.value.trim() : "" });
    return only;
  };
  const field = h("input", {
    type: "search", placeholder: placeholder(dictionary), title: searchHelp(dictionary),
    "aria-label": "Search the latents", "aria-describedby": "search-problem", autocomplete: "off", spellcheck: "false",
    oninput: () => {
      const only = read();
      if (only !== null && dictionary.holds(only)) store.select(only);
    },
    onkeydown: (event) => {
      if (event.key === "Enter" && store.shown.length > 0) store.select(store.shown[0]);
    },
  });
  store.on("query", () => {
    if (field.value.trim() === store.query || document.activeElement === field) return;
    field.value = store.query;
    read();
  });
  return h("div", {}, h("div", { class: "tools search" }, field), problem);
}

function placeholder({ manifest: { classes, tokens } }) {
  return `search: #37, dead${tokens ? ", token the" : classes ? `, class ${classes[0]}` : ""} …`;
}

function controls(store, count) {
  const order = menu("by", orders, (value) => store.set({ order: value }));
  store.on("order", () => (order.select.value = store.order));
  return tools(order.label, count);
}

/** How densities are spread over all latents; a click searches for those of a bar. */
function spread(store) {
  const { density } = store.dictionary.arrays;
  const alive = Array.from(density).filter((value) => value > 0).map(Math.log10);
  const dead = density.length - alive.length;
  const said = dead === 0 ? "All latents fire on some row." : `${counted(dead)} of ${counted(density.length)} never fire.`;
  if (alive.length === 0) return h("p", { class: "quiet" }, said);
  const bin = (value) => Math.floor(value * binsPerDecade + 1e-9);
  const [low, high] = [Math.min, Math.max].map((most) => alive.map(bin).reduce((a, b) => most(a, b)));
  const counts = new Array(high - low + 1).fill(0);
  for (const value of alive) counts[bin(value) - low] += 1;
  const chart = histogramChart(counts, low / binsPerDecade, (high + 1) / binsPerDecade, {
    label: `How many latents fire how often, from ${percent(10 ** (low / binsPerDecade))} of rows to `
      + percent(10 ** ((high + 1) / binsPerDecade)),
    height: 96, xLabel: "log₁₀ of the part of rows on which a latent fires",
    onpick: (place) => {
      const at = Math.min(Math.max(bin(place), low), high);
      const [from, to] = [at, at + 1].map((edge) => (10 ** (edge / binsPerDecade)).toPrecision(4));
      store.set({ query: `density>=${Number(from)} density<${Number(to)}` });
    },
  });
  store.on("latent", () => {
    const own = store.latent === null ? 0 : density[store.latent];
    moveMarker(chart, own > 0 ? Math.log10(own) : null);
  });
  return h("div", {}, h("h3", {}, "How often latents fire"), chart, h("p", { class: "quiet" }, said));
}
