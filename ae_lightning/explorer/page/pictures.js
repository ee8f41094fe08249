/** Pictures with a caption and a mark, lists of facts, and pictures to take away. */

import { h } from "explorer/dom.js";
import { cellOf } from "explorer/paint.js";

/** A canvas with a caption under it, and frames that can be put around one of its cells. */
export function pictureWithCaption(name, properties = {}) {
  const canvas = h("canvas", { class: "image", role: "img", "aria-label": name, ...properties });
  const mark = h("span", { class: "mark", hidden: true });
  const cursor = h("span", { class: "mark cursor", hidden: true });
  const range = h("span", { class: "number" });
  const picture = h("div", { class: "picture" }, canvas, mark, cursor);
  return { figure: h("figure", {}, picture, h("figcaption", {}, `${name} `, range)), canvas, mark, cursor, range };
}

/** Put a mark around the cell of a number; null hides it. */
export function placeMark(mark, index, input) {
  mark.hidden = index === null;
  if (index === null) return;
  const { column, row } = cellOf(index, input);
  const { width, height } = input;
  const percent = (part, whole) => `${(100 * part) / whole}%`;
  Object.assign(mark.style, { left: percent(column, width), top: percent(row, height) });
  Object.assign(mark.style, { width: percent(1, width), height: percent(1, height) });
}

/** Class of a grid of pictures: flat ones stand one above the other. */
export function gridClass(name, { width, height }) {
  return width > 3 * height ? `${name} strips` : name;
}

/** Names with values that change. `show(name, text)` hides what has no text. */
export function facts(names) {
  const values = Object.fromEntries(names.map((name) => [name, h("dd", { class: "number" })]));
  const list = h("dl", { class: "facts" }, ...names.flatMap((name) => [h("dt", {}, name), values[name]]));
  const show = (name, text) => {
    values[name].textContent = text;
    values[name].hidden = values[name].previousSibling.hidden = text === "";
  };
  return { list, show };
}

/** A button that is a small picture with a line under it; `paint` draws the picture. */
export function pictureButton(paint, text, title, onclick) {
  const canvas = h("canvas", { class: "image" });
  paint(canvas);
  return h("button", { type: "button", class: "thumb number", "aria-label": title, title, onclick }, canvas, text);
}

const side = 280;
const margin = 16;
const line = 22;

/**
 * Several pictures beside each other with their names and a title, to be saved.
 * @param {Array<{canvas: HTMLCanvasElement, text: string}>} pictures
 */
export function labelledPicture(title, pictures) {
  const sheet = document.createElement("canvas");
  const { width, height } = pictures[0].canvas;
  const tall = Math.max(margin, Math.round((side * height) / width));
  sheet.width = margin + pictures.length * (side + margin);
  sheet.height = 3 * margin + 2 * line + tall;
  const context = sheet.getContext("2d");
  const style = getComputedStyle(document.documentElement);
  context.fillStyle = style.getPropertyValue("--card");
  context.fillRect(0, 0, sheet.width, sheet.height);
  context.imageSmoothingEnabled = false;
  context.fillStyle = style.getPropertyValue("--ink");
  context.font = "14px system-ui, sans-serif";
  context.fillText(title, margin, margin + 14, sheet.width - 2 * margin);
  pictures.forEach(({ canvas, text }, i) => {
    const left = margin + i * (side + margin);
    context.drawImage(canvas, left, 2 * margin + line, side, tall);
    context.fillText(text, left, 2 * margin + 2 * line + tall, side);
  });
  return sheet;
}
