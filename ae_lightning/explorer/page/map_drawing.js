/** Drawing of the map of codes: points by class, in colors and shapes that differ for every eye, and rings. */

import { darkScheme } from "explorer/paint.js";

// Colors that stay apart for color-blind people (after P. Tol and CARTO), lighter ones on dark ground.
const colors = {
  light: ["#332288", "#d95f02", "#117733", "#3d9bc9", "#aa4499", "#8a8a1c", "#882255", "#2a9d8f", "#cc6677", "#661100"],
  dark: ["#a99bff", "#ff9f4a", "#53c878", "#88ccee", "#e58ad6", "#d8d05a", "#ff6fa8", "#5fd6c6", "#f0a0aa", "#c9a27a"],
};
const corners = [
  null, // a disk
  [[-0.85, -0.85], [0.85, -0.85], [0.85, 0.85], [-0.85, 0.85]],
  [[0, -1.2], [1.1, 0.8], [-1.1, 0.8]],
  [[0, -1.3], [1.1, 0], [0, 1.3], [-1.1, 0]],
];

/** Draw the point of a class; classes differ in color and, one after the other, in one of four shapes. */
export function drawPoint(context, number, [left, top], size) {
  const palette = colors[darkScheme.matches ? "dark" : "light"];
  const shape = corners[(number + Math.floor(number / palette.length)) % corners.length];
  context.fillStyle = palette[number % palette.length];
  context.beginPath();
  if (shape === null) context.arc(left, top, size * 0.95, 0, 2 * Math.PI);
  else for (const [x, y] of shape) context.lineTo(left + x * size, top + y * size);
  context.fill();
}

/** Draw a ring in one of the page's colors. */
export function drawRing(canvas, [left, top], color, radius) {
  const context = canvas.getContext("2d");
  const style = getComputedStyle(canvas);
  for (const [width, name] of [[5, "--card"], [2.5, color]]) {
    context.lineWidth = width;
    context.strokeStyle = style.getPropertyValue(name);
    context.beginPath();
    context.arc(left, top, radius, 0, 2 * Math.PI);
    context.stroke();
  }
}

/** Make a canvas as large as its box in the screen's own pixels, and empty. */
export function cleared(canvas) {
  const ratio = globalThis.devicePixelRatio;
  const { clientWidth, clientHeight } = canvas;
  const [width, height] = [clientWidth, clientHeight].map((size) => Math.round(size * ratio));
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, clientWidth, clientHeight);
  return context;
}
