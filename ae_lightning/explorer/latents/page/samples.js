/** The samples that excite the shown latent most: pictures with its places, texts with shaded tokens, or numbers. */

import { button, checkbox, counted, h, quiet, short, tools } from "explorer/dom.js";
import { placeMark } from "explorer/pictures.js";
import { percent, visible } from "explorer/words.js";

// Tokens that are shown before and after the strongest one, unless all are asked for.
const [before, after] = [20, 12];
// A shade of full strength still lets letters be read.
const darkest = 55;

const kinds = { images: showPictures, texts: showTexts, vectors: showNumbers };

/** Put the view on the page. */
export function mountSamples(store, element) {
  const { manifest } = store.dictionary;
  if (manifest.count === 0) {
    element.querySelector("h2").textContent = "Pages";
    element.append(index(store));
    return;
  }
  const title = h("h3", { class: "latent-title" });
  const note = quiet();
  const content = h("div", { class: `samples-${manifest.kind}` });
  const step = (sign, by, text) => button(sign, () => store.step(by), { title: text, class: "icon" });
  element.append(
    tools(title, h("span", { class: "joined" }, step("‹", -1, "Previous latent"), step("›", 1, "Next latent")),
      ...controls(store)),
    note, content);
  const show = () => {
    const { latent, dictionary } = store;
    const samples = dictionary.samples(latent);
    title.textContent = `#${latent}`;
    note.textContent = samples.length === 0 ? "It fires on none of the rows." : sentence(dictionary, samples);
    content.replaceChildren(...kinds[manifest.kind](store, samples));
  };
  store.on("latent long", show);
  store.on("marked", () => content.classList.toggle("unmarked", !store.marked));
  store.on("tile", () => content.style.setProperty("--tile", `${store.tile}px`));
}

function sentence({ manifest: { kind, rows, stored_rows: stored } }, samples) {
  const of = rows === stored ? `${counted(rows)} rows` : `${counted(rows)} of ${counted(stored)} rows`;
  const how = kind === "texts" ? " Shades are activations; the strongest token has a frame." : "";
  const most = samples.length === 1 ? "The one sample that excites it" : `The ${samples.length} samples that excite it most`;
  return `${most}, of ${of}.${how}`;
}

function controls(store) {
  const { kind, places } = store.dictionary.manifest;
  if (kind === "texts") {
    const long = checkbox("more text", (checked) => store.set({ long: checked }));
    store.on("long", () => (long.box.checked = store.long));
    return [long.label];
  }
  if (kind !== "images") return [];
  const size = h("input", {
    type: "range", min: 48, max: 240, step: 8, oninput: () => store.set({ tile: Number(size.value) }),
  });
  store.on("tile", () => (size.value = store.tile));
  const marked = checkbox("mark places", (checked) => store.set({ marked: checked }));
  store.on("marked", () => (marked.box.checked = store.marked));
  return [h("label", {}, "size", size), places ? marked.label : null].filter((each) => each !== null);
}

// --- pictures --------------------------------------------------------------------------------------------------------

function showPictures({ dictionary }, samples) {
  return samples.map((sample) => {
    const canvas = h("canvas", { class: "image", role: "img", "aria-label": nameOf(sample) });
    dictionary.sheets.draw(canvas, sample.picture);
    const caption = h("figcaption", { class: "number" }, h("b", {}, short(sample.value)),
      sample.name === null ? null : ` · ${sample.name}`);
    return h("figure", { class: "sample", title: nameOf(sample) },
      h("div", { class: "picture" }, canvas, ...places(dictionary, sample)), caption);
  });
}

/** How strongly the latent fires at each place of the map, over the picture, and a frame around the strongest. */
function places(dictionary, sample) {
  if (!dictionary.manifest.places) return [];
  const [height, width] = dictionary.manifest.places;
  const heat = h("canvas", { class: "heat", width, height });
  const context = heat.getContext("2d");
  const { positions, parts } = dictionary.shades(sample.pair);
  positions.forEach((position, i) => {
    context.fillStyle = `rgb(255 40 60 / ${darkest * parts[i]}%)`;
    context.fillRect(position % width, Math.floor(position / width), 1, 1);
  });
  const mark = h("span", { class: "mark" });
  placeMark(mark, sample.position, { width, height });
  return [heat, mark];
}

function nameOf({ sample, position, value, name }) {
  const said = name === null ? "" : `, class ${name}`;
  return `Sample ${counted(sample)}${said}, activation ${short(value)} at place ${counted(position)}`;
}

// --- texts -----------------------------------------------------------------------------------------------------------

function showTexts({ dictionary, latent, long }, samples) {
  return samples.map((sample) => {
    const { tokens, begins, ends } = dictionary.window(sample.pair);
    const peak = tokens.findIndex(({ position }) => position === sample.position);
    const [first, last] = long ? [0, tokens.length] : [Math.max(0, peak - before), peak + after + 1];
    const pieces = tokens.slice(first, last).flatMap((token) => piece(token, token.position === sample.position, sample));
    const cut = [first > 0 || !begins, last < tokens.length || !ends].map((is) => (is ? "…" : ""));
    const bar = h("i", {});
    bar.style.width = percent(sample.value / dictionary.arrays.high[latent]);
    return h("div", { class: "text-sample" },
      h("span", { class: "text-value number", title: nameOf(sample).replace("place", "token") }, short(sample.value), bar),
      h("p", { class: "text", dir: "auto" }, cut[0], ...pieces, cut[1]));
  });
}

/** A token of a text: shaded where the latent fires, without the blanks before it. */
function piece({ text, part, position }, isPeak, { value }) {
  const shown = visible(text);
  if (part === 0 && !isPeak) return [shown];
  const [blanks] = shown.trim() === "" ? [""] : /^ */.exec(shown);
  const token = h("span", { class: isPeak ? "token peak" : "token" }, shown.slice(blanks.length));
  token.style.setProperty("--strength", `${Math.round(darkest * part)}%`);
  token.title = isPeak ? `activation ${short(value)}` : `${percent(part)} of the largest activation, token ${position}`;
  return [blanks, token];
}

// --- numbers ---------------------------------------------------------------------------------------------------------

/** Samples of which nothing can be shown. */
function showNumbers({ dictionary: { manifest } }, samples) {
  const { classes } = manifest;
  const names = ["sample", "place", ...(classes ? ["class"] : []), "activation"];
  const rows = samples.map(({ sample, position, name, value }) => h("tr", {},
    ...[counted(sample), counted(position), ...(classes ? [name ?? ""] : []), short(value)].map((text) => h("td", {}, text))));
  if (rows.length === 0) return [];
  return [h("table", { class: "sample-table" },
    h("thead", {}, h("tr", {}, ...names.map((name) => h("th", { scope: "col" }, name)))), h("tbody", {}, ...rows))];
}

// --- a page without latents of its own -------------------------------------------------------------------------------

/** Links to the pages that show latents in full. */
function index({ dictionary: { manifest: { pages, latents } } }) {
  const links = pages.map(({ file, first, count }) =>
    h("a", { class: "page-link number", href: file }, `#${first} to #${first + count - 1}`));
  return h("div", {},
    quiet(`${counted(latents)} latents are on ${pages.length} pages. Choose one in the list, search for it, or open a page.`),
    h("div", { class: "page-links" }, ...links));
}
