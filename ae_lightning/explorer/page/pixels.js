/** View 4, one pixel of an image or entry of a vector: which units read it, or how its value in the reconstruction comes about. */

import { button, counted, h, quiet, short, tools } from "explorer/dom.js";
import { ranked } from "explorer/store.js";

const rowsShown = 12;

/** Put the view into its element. */
export function mountPixels(store, element) {
  const { entry, anEntry } = store.session;
  element.querySelector("h2").textContent = entry[0].toUpperCase() + entry.slice(1);
  const place = placeFields(store);
  const ask = (side) => store.set({ pixel: { side, index: store.pixel?.index ?? place.middle } });
  const sides = [["input", "Who reads it"], ["output", "Who writes it"]].map(([side, name]) =>
    button(name, () => ask(side), { "data-side": side }));
  const says = h("p", { class: "number" });
  const list = barList((unit) => {
    store.selectLayer(store.pixel.side === "input" ? 0 : store.network.last - 1);
    store.selectUnit(unit);
  });
  const note = quiet();
  element.append(tools(...sides, place.element), says, list.element, note);

  store.on("pixel result", () => {
    const { pixel } = store;
    for (const side of sides) side.setAttribute("aria-pressed", side.dataset.side === pixel?.side);
    place.show(pixel?.index ?? place.middle);
    says.textContent = `Click ${anEntry} of the input or of the reconstruction, or press a button here.`;
    let shown = { rows: [], note: "" };
    if (pixel !== null) {
      const [input, output] = [store.input, store.result.output].map((values) => short(values[pixel.index], 4));
      says.textContent = `Input ${input}, reconstruction ${output}`;
      shown = pixel.side === "input" ? readers(store, pixel.index) : writers(store, pixel.index);
    }
    list.show(shown.rows);
    note.textContent = shown.note;
  });
}

/** The strongest weights of the first layer to a pixel. */
function readers(store, index) {
  const { weights, parts } = store.network.readers(store.result, index);
  const units = strongest(weights);
  const reach = Math.abs(weights[units[0]]) || 1;
  const rows = units.map((unit) => ({
    name: `#${unit}`, unit, value: weights[unit], from: 0.5, to: 0.5 + weights[unit] / reach / 2,
    numbers: [short(weights[unit]), short(parts[unit])], kind: store.result.hidden[0][unit] === 0 ? "silent" : "",
  }));
  const count = counted(weights.length);
  const note = `The strongest of ${count} weights${of(store, 0)}. Pale units are silent at this input.`;
  return { rows: [{ name: "unit", numbers: ["weight", `× ${store.session.entry}`], kind: "head" }, ...rows], note };
}

/** Of which layer units are, where there are several. */
function of({ session: { hiddenLayers } }, layer) {
  return hiddenLayers.length > 1 ? ` of ${hiddenLayers[layer].name}` : "";
}

/** bias + parts = sum, and the value after the activation function: a waterfall. */
function writers(store, index) {
  const { bias, parts, sum, value } = store.network.waterfall(store.result, index);
  const units = strongest(parts).filter((unit) => parts[unit] !== 0);
  const steps = units.map((unit) => ({ name: `#${unit}`, unit, value: parts[unit] }));
  steps.unshift({ name: "bias", value: bias });
  const others = parts.length - units.length;
  if (others > 0) {
    const named = steps.reduce((total, step) => total + step.value, 0);
    steps.push({ name: `${counted(others)} other${others === 1 ? "" : "s"}`, value: sum - named });
  }
  const { activation } = store.network.layers[store.network.last];
  const after = activation === "none" ? null : { name: `after ${activation}`, value };
  const layer = of(store, store.network.last - 1);
  const note = `What units${layer} add. The numbers are rounded so that they add up exactly.`;
  return { rows: waterfall(steps, sum, after), note };
}

/** Bars that each begin where the one before ended, and their sum. */
function waterfall(steps, sum, after) {
  const ends = [0];
  for (const { value } of steps) ends.push(ends.at(-1) + value);
  const [low, high] = [Math.min(...ends, after?.value ?? 0), Math.max(...ends, after?.value ?? 0)];
  const axis = (value) => (value - low) / (high - low || 1);
  const digits = Math.min(Math.max(3 - Math.floor(Math.log10(high - low || 1)), 0), 9);
  // Rounding where the bars end, and not each bar, makes the rounded numbers add up too.
  const grid = ends.map((end) => Math.round(end * 10 ** digits));
  const written = (whole) => (whole / 10 ** digits).toFixed(digits).replace("-", "−");
  const bars = steps.map((step, i) =>
    ({ ...step, from: axis(ends[i]), to: axis(ends[i + 1]), numbers: [written(grid[i + 1] - grid[i])] }));
  const total = (name, value, text) =>
    ({ name, value, from: axis(0), to: axis(value), kind: "total", numbers: [text] });
  bars.push(total("= sum", sum, written(grid.at(-1))));
  if (after) bars.push(total(after.name, after.value, short(after.value, 4)));
  return bars;
}

/** The units with the largest sizes, the largest first. */
function strongest(values) {
  return ranked(values.map(Math.abs)).slice(0, rowsShown);
}

/** Rows of a name, a bar and numbers, made once and changed, as they change with every stroke of the pen. */
function barList(pick) {
  const element = h("div", { class: "bars", role: "list" });
  const show = (rows) => {
    while (element.childElementCount < rows.length) element.append(barRow(pick));
    for (const [i, row] of [...element.children].entries()) {
      row.hidden = i >= rows.length;
      if (!row.hidden) fillRow(row, rows[i]);
    }
  };
  return { element, show };
}

function barRow(pick) {
  const link = button("", () => pick(Number(row.dataset.unit)), { class: "link" });
  const row = h("div", { role: "listitem" }, link, h("span"), h("span", { class: "bar" }, h("i")),
    h("span", { class: "number" }), h("span", { class: "number" }));
  return row;
}

function fillRow(row, { name, unit, value, from, to, numbers, kind = "" }) {
  const [link, label, { firstChild: bar }, ...cells] = row.children;
  row.className = `bar-row ${kind}`;
  row.dataset.unit = unit ?? "";
  row.dataset.value = value ?? "";
  link.hidden = unit === undefined;
  label.hidden = !link.hidden;
  (link.hidden ? label : link).textContent = name;
  cells.forEach((cell, i) => (cell.textContent = numbers[i] ?? ""));
  bar.hidden = value === undefined;
  bar.className = value < 0 ? "negative" : "positive";
  bar.style.left = `${100 * Math.min(from, to)}%`;
  bar.style.width = `${100 * Math.abs(to - from)}%`;
}

/** Number fields for the place of the pixel: row, column, and channel if there are several; one number in vectors. */
function placeFields(store) {
  const { input } = store.session;
  const { height, width, planes, is_image: isImage } = input;
  const area = width * height;
  const sizes = isImage ? [["row", height], ["column", width], ["channel", planes]]
    : [["entry", store.session.pixels]];
  const move = () => {
    const values = fields.map((field) => field.valueAsNumber);
    if (!values.every((value, i) => value >= 0 && value < sizes[i][1])) return;
    const [first, column, channel] = values;
    const index = isImage ? (channel * height + first) * width + column : first;
    store.set({ pixel: { side: store.pixel?.side ?? "input", index } });
  };
  const fields = sizes.map(([, size]) => h("input", { type: "number", min: 0, max: size - 1, oninput: move }));
  const show = (index) => {
    const at = isImage ? [Math.floor((index % area) / width), index % width, Math.floor(index / area)] : [index];
    fields.forEach((field, i) => field.valueAsNumber !== at[i] && (field.value = at[i]));
  };
  const labels = sizes.map(([name, size], i) => h("label", { hidden: size === 1 }, name, fields[i]));
  const middle = isImage ? Math.floor(height / 2) * width + Math.floor(width / 2) : 0;
  return { element: h("span", { class: "tools place" }, ...labels), show, middle };
}
