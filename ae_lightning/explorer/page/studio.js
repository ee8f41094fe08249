/** The input: choose a sample, draw on it, and see what the network makes of it. */

import { background, hasSoftBrush, inverted, noisy, readImage, shifted, Stroke } from "explorer/brush.js";
import { announce, button, counted, h, short } from "explorer/dom.js";
import {
  cellOf, darkScheme, indexOf, indexUnder, largest, paintGray, paintSigned, pictureSize,
} from "explorer/paint.js";
import { facts, gridClass, pictureWithCaption, placeMark } from "explorer/pictures.js";
import { sampleStrip } from "explorer/sample_strip.js";

const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Put the view on the page. */
export function mountStudio(store, element) {
  const brush = { size: 2, value: store.session.manifest.input.high };
  element.append(sampleStrip(store), pictures(store, brush), drawingTools(store, brush), changes(store, element));
}

function pictures(store, brush) {
  const { input } = store.session.manifest;
  const given = pictureWithCaption("input");
  const output = pictureWithCaption("reconstruction");
  const difference = pictureWithCaption("difference", {
    title: "The reconstruction less the input: red where it is larger, blue where it is smaller",
  });
  const numbers = facts(["sample", "class", "error per pixel", "active units"]);
  for (const [picture, side] of [[given, "input"], [output, "output"]]) {
    listen(store, picture, side, brush);
    store.on("pixel", () => placeMark(picture.mark, store.pixel?.side === side ? store.pixel.index : null, input));
  }
  const paint = () => {
    const signed = store.result.output.map((value, index) => value - store.input[index]);
    paintGray(given.canvas, store.input, input);
    paintGray(output.canvas, store.result.output, input);
    paintSigned(difference.canvas, signed, input);
    difference.range.textContent = `±${short(largest(signed), 2)}`;
  };
  store.on("result", paint);
  darkScheme.addEventListener("change", paint);
  store.on("result sample edited layer", () => showNumbers(store, numbers.show));
  store.on("tool", () => given.canvas.classList.toggle("drawn-on", store.tool !== "pick"));
  const figures = [given, output, difference].map(({ figure }) => figure);
  return h("div", { class: gridClass("pictures", input) }, ...figures, numbers.list);
}

function showNumbers({ session, sample, edited, error, result, layer }, show) {
  const hidden = result.hidden[layer];
  const active = hidden.reduce((count, value) => count + (value !== 0), 0);
  show("sample", sample === null ? "your image" : `${counted(sample)}${edited ? ", changed" : ""}`);
  show("class", session.className(sample) ?? "");
  show("error per pixel", short(error));
  show("active units", `${counted(active)} of ${counted(hidden.length)}`);
}

/** Let a picture be picked from and drawn on, with mouse, pen, finger and keyboard. */
function listen(store, { canvas, cursor }, side, brush) {
  const { input } = store.session.manifest;
  let stroke = null;
  let pressed = false;
  const act = (index, place) => {
    if (side === "output" || store.tool === "pick") return pick(store, side, index);
    const going = stroke !== null;
    stroke ??= new Stroke(store.input, input, store.tool === "erase" ? background(input) : brush.value, brush.size);
    store.edit(stroke.moveTo(place), { remember: !going }); // undoing takes back the whole stroke
  };
  const actUnder = (event) => {
    const box = canvas.getBoundingClientRect();
    const { width, height } = pictureSize(input);
    const column = ((event.clientX - box.left) / box.width) * width;
    act(indexUnder(event, canvas, input), { column, row: ((event.clientY - box.top) / box.height) * height });
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    pressed = cursor.hidden = true;
    stroke = null;
    canvas.setPointerCapture(event.pointerId);
    actUnder(event);
  });
  canvas.addEventListener("pointermove", (event) => pressed && actUnder(event));
  for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, () => (pressed = false));
  addCursor(store, canvas, cursor, side, ({ column, row }) => {
    stroke = null;
    act(indexOf(column, row, input), { column: column + 0.5, row: row + 0.5 });
  });
}

function pick(store, side, index) {
  if (index === null || (store.pixel?.side === side && store.pixel.index === index)) return;
  store.set({ pixel: { side, index } });
}

/** The arrow keys move a cell over a picture; Enter and the space bar act on it. */
function addCursor(store, canvas, cursor, side, act) {
  const { input } = store.session.manifest;
  const name = side === "input" ? "Input" : "Reconstruction";
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "application");
  canvas.setAttribute("aria-label", `${name}: the arrow keys move over its pixels, Enter takes the tool to one`);
  let cell = { column: pictureSize(input).width >> 1, row: input.height >> 1 };
  const say = () => {
    const index = indexOf(cell.column, cell.row, input);
    placeMark(cursor, index, input);
    const values = side === "input" ? store.input : store.result.output;
    announce(`row ${cell.row}, column ${cell.column}: ${short(values[index])}`);
  };
  canvas.addEventListener("keydown", (event) => {
    const by = arrows[event.key];
    if (event.ctrlKey || event.altKey || event.metaKey || !(by || event.key === "Enter" || event.key === " ")) return;
    event.preventDefault();
    const next = by && { column: cell.column + by[0], row: cell.row + by[1] };
    if (!by) act(cell);
    else if (indexOf(next.column, next.row, input) !== null) cell = next;
    say();
  });
  canvas.addEventListener("focus", () => {
    if (!canvas.matches(":focus-visible")) return;
    if (store.pixel?.side === side) cell = cellOf(store.pixel.index, input);
    say();
  });
  canvas.addEventListener("blur", () => (cursor.hidden = true));
}

function drawingTools(store, brush) {
  const { input } = store.session.manifest;
  const tools = { pick: "Choose a pixel", draw: "Draw on the input", erase: "Erase from the input" };
  const buttons = Object.entries(tools).map(([tool, title]) => button(tool, () => store.set({ tool }), { title }));
  const slider = (text, name, min, max, step) => {
    const shown = h("span", { class: "number" }, short(brush[name], 2));
    const field = h("input", { type: "range", min, max, step, value: brush[name], oninput: () => {
      brush[name] = Number(field.value);
      shown.textContent = short(brush[name], 2);
    } });
    return h("label", {}, text, field, shown);
  };
  const size = slider("width", "size", 1, Math.ceil(input.width / 4), 0.5);
  const value = slider("value", "value", input.low, input.high, (input.high - input.low) / 100);
  store.on("tool", () => {
    for (const each of buttons) each.setAttribute("aria-pressed", each.textContent === store.tool);
    size.hidden = store.tool === "pick" || !hasSoftBrush(input);
    value.hidden = store.tool !== "draw";
  });
  return h("div", { class: "tools" }, h("span", { class: "joined" }, ...buttons), size, value);
}

/** Buttons that change the whole input. */
function changes(store, element) {
  const { input } = store.session.manifest;
  const shift = (sign, to, ...by) =>
    button(sign, () => store.edit(shifted(store.input, input, ...by)), { title: `Shift ${to} by one`, class: "icon" });
  const shifts = [shift("←", "left", -1, 0), shift("→", "right", 1, 0)];
  if (input.is_image) shifts.push(shift("↑", "up", 0, -1), shift("↓", "down", 0, 1));
  const undo = button("undo", () => store.undo());
  const original = button("original", () => store.selectSample(store.sample),
    { title: "Take back all changes to the sample" });
  store.on("input surgery sample edited", () => {
    undo.disabled = store.past.length === 0;
    original.disabled = !store.edited || store.sample === null;
  });
  return h("div", { class: "tools" }, h("span", { class: "joined" }, ...shifts),
    button("invert", () => store.edit(inverted(store.input, input)), { title: "Bright for dark" }),
    button("noise", () => store.edit(noisy(store.input, input)), { title: "Add noise of a tenth of the range" }),
    button("clear", () => store.edit(store.input.map(() => background(input)))),
    undo, original, input.is_image ? imageChooser(store, element) : null);
}

function imageChooser(store, element) {
  const { input } = store.session.manifest;
  const problem = h("span", { class: "warn", role: "status" });
  const take = async (file) => {
    problem.textContent = "";
    try {
      store.edit(await readImage(file, input), { sample: null });
    } catch {
      problem.textContent = `“${file.name}” cannot be read as an image.`;
    }
  };
  const field = h("input", { type: "file", accept: "image/*", hidden: true, onchange: () => {
    if (field.files.length > 0) take(field.files[0]);
    field.value = ""; // the same file can be chosen again
  } });
  // A file that is dropped beside the card must not take the place of the page.
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    if (element.contains(event.target) && event.dataTransfer.files.length > 0) take(event.dataTransfer.files[0]);
  });
  const title = "Take an image file as input, or drop one here; it stays on this machine";
  return h("span", {}, button("image …", () => field.click(), { title }), field, problem);
}
