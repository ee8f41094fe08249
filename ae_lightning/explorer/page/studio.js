/** The input: choose a sample, draw on it, and see what the network makes of it. */

import { background, hasSoftBrush, inverted, noisy, readImage, shifted, Stroke } from "explorer/brush.js";
import { announce, arrows, button, counted, h, isCommand, short, tools } from "explorer/dom.js";
import { cellOf, darkScheme, indexAt, largest, paintSample, paintSigned, placeUnder } from "explorer/paint.js";
import { facts, gridClass, pictureWithCaption, placeMark } from "explorer/pictures.js";
import { sampleStrip } from "explorer/sample_strip.js";

/** Put the view on the page. */
export function mountStudio(store, element) {
  const brush = { size: 2, value: store.session.input.high };
  element.append(sampleStrip(store), pictures(store, brush), drawingTools(store, brush), changes(store));
}

function pictures(store, brush) {
  const { input, signs, entry } = store.session;
  const given = pictureWithCaption("input");
  const output = pictureWithCaption("reconstruction");
  const difference = pictureWithCaption("difference", {
    title: `The reconstruction less the input. ${signs}`,
  });
  const numbers = facts(["sample", "class", `error per ${entry}`, "active units"]);
  for (const [picture, side] of [[given, "input"], [output, "output"]]) {
    listen(store, picture, side, brush);
    store.on("pixel", () => placeMark(picture.mark, store.pixel?.side === side ? store.pixel.index : null, input));
  }
  const paint = () => {
    const signed = store.result.output.map((value, index) => value - store.input[index]);
    paintSample(given.canvas, store.input, input);
    paintSample(output.canvas, store.result.output, input);
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
  show("sample", sample === null ? `your ${session.input.is_image ? "image" : "vector"}` : `${counted(sample)}${edited ? ", changed" : ""}`);
  show("class", session.className(sample) ?? "");
  show(`error per ${session.entry}`, short(error));
  show("active units", `${counted(active)} of ${counted(hidden.length)}`);
}

/** Let a picture be picked from and drawn on, with mouse, pen, finger and keyboard. */
function listen(store, { canvas, cursor }, side, brush) {
  const { input } = store.session;
  let stroke = null;
  let pressed = false;
  const act = (place) => {
    if (side === "output" || store.tool === "pick") return pick(store, side, indexAt(place, input));
    const going = stroke !== null;
    stroke ??= new Stroke(store.input, input, store.tool === "erase" ? background(input) : brush.value, brush.size);
    store.edit(stroke.moveTo(place), { remember: !going }); // undoing takes back the whole stroke
  };
  const actUnder = (event) => act(placeUnder(event, canvas, input));
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
    act({ column: column + 0.5, row: row + 0.5 });
  });
}

/** Show a cell's number, of three channels that of the one shown before. */
function pick(store, side, cell) {
  if (cell === null) return;
  const { width, height } = store.session.input;
  const before = store.pixel?.index ?? 0;
  const index = cell + before - (before % (width * height));
  if (store.pixel?.side !== side || before !== index) store.set({ pixel: { side, index } });
}

/** The arrow keys move a cell over a picture; Enter and the space bar act on it. */
function addCursor(store, canvas, cursor, side, act) {
  const { input } = store.session;
  const { width, height } = input;
  const name = side === "input" ? "Input" : "Reconstruction";
  canvas.tabIndex = 0;
  canvas.setAttribute("role", "application");
  canvas.setAttribute("aria-label", `${name}: the arrow keys move over its pixels, Enter takes the tool to one`);
  let cell = { column: width >> 1, row: height >> 1 };
  const say = () => {
    const first = indexAt(cell, input);
    placeMark(cursor, first, input);
    const values = side === "input" ? store.input : store.result.output;
    const channels = values.filter((_, index) => index % (width * height) === first);
    announce(`row ${cell.row}, column ${cell.column}: ${Array.from(channels, (value) => short(value)).join(", ")}`);
  };
  canvas.addEventListener("keydown", (event) => {
    const by = arrows[event.key];
    if (isCommand(event) || !(by || event.key === "Enter" || event.key === " ")) return;
    event.preventDefault();
    const next = by && { column: cell.column + by[0], row: cell.row + by[1] };
    if (!by) act(cell);
    else if (indexAt(next, input) !== null) cell = next;
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
  const { input, anEntry } = store.session;
  const titles = { pick: `Choose ${anEntry}`, draw: "Draw on the input", erase: "Erase from the input" };
  const buttons = Object.entries(titles).map(([tool, title]) => button(tool, () => store.set({ tool }), { title }));
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
  return tools(h("span", { class: "joined" }, ...buttons), size, value);
}

/** Buttons that change the whole input. */
function changes(store) {
  const { input } = store.session;
  const shift = (sign, to, ...by) =>
    button(sign, () => store.edit(shifted(store.input, input, ...by)), { title: `Shift ${to} by one`, class: "icon" });
  const shifts = [shift("←", "left", -1, 0), shift("→", "right", 1, 0)];
  if (input.is_image) shifts.push(shift("↑", "up", 0, -1), shift("↓", "down", 0, 1));
  const undo = button("undo", () => store.undo());
  const original = button("original", () => store.selectSample(store.sample),
    { title: "Take back all changes to the sample" });
  store.on("input surgery sample edited past", () => {
    undo.disabled = store.past.length === 0;
    original.disabled = !store.edited || store.sample === null;
  });
  return tools(h("span", { class: "joined" }, ...shifts),
    button("invert", () => store.edit(inverted(store.input, input)), { title: "Bright for dark" }),
    button("noise", () => store.edit(noisy(store.input, input)), { title: "Add noise of a tenth of the range" }),
    button("clear", () => store.edit(store.input.map(() => background(input)))),
    undo, original, imageChooser(store));
}

function imageChooser(store) {
  const { input } = store.session;
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
  // Wherever a file is dropped: it must not take the place of the page.
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    const [file] = event.dataTransfer.files;
    if (!file) return; // text, which a field may take
    event.preventDefault();
    if (input.is_image) take(file);
  });
  const title = "Take an image file as input, or drop one on the page; it stays on this machine";
  const choose = input.is_image ? button("image …", () => field.click(), { title }) : null;
  return h("span", {}, choose, field, problem);
}
