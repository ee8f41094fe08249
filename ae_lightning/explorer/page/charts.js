/**
 * Small charts as SVG: in the colors of the page, as large as their box, with a sentence on what they show.
 *
 * A chart is drawn once for its numbers; what moves with every step, its markers, is moved by `moveMarker`.
 */

import { short } from "explorer/dom.js";

const width = 320; // letters are 11 high in it
const [left, right] = [40, width - 10];
const line = 15;
const frames = new WeakMap();

/**
 * @typedef {Object} ChartOptions
 * @property {string} label The sentence for those who do not see the chart.
 * @property {number} [height] Where the width is 320.
 * @property {string} [xLabel] What the horizontal axis counts.
 * @property {boolean} [logX] Steps by their order of size, from 0.
 * @property {boolean} [logY] Where all numbers are above 0.
 * @property {number} [low] Where the vertical axis begins; by default at the lowest number.
 * @property {?number} [marker] Where on the horizontal axis the present moment is.
 * @property {?function(number)} [onpick] Called with the place on the horizontal axis that was clicked.
 */

/**
 * Lines over a common axis, with their names above.
 * @param {Array<{name: string, x: number[], y: number[]}>} series What is not finite leaves a gap.
 * @param {ChartOptions} options
 * @returns {SVGSVGElement}
 */
export function lineChart(series, options = {}) {
  const [lowest, highest] = extent(series.flatMap(({ y }) => y));
  const logY = options.logY && lowest > 0;
  const pad = logY ? 0 : (highest - lowest) * 0.04;
  const [start, end] = extent(series.flatMap(({ x }) => x));
  const chart = newChart({ ...options, top: 8 + line }, [start, end, options.logX ? log1p : plain],
    [options.low ?? lowest - pad, highest + pad, logY ? log : plain]);
  const { x, y } = frames.get(chart);
  addHorizontalAxis(chart, options);
  let at = left;
  for (const [number, { name, x: xs, y: ys }] of series.entries()) {
    const style = `chart-line series-${number % 5}`;
    for (const d of [`M${at} 6h14`, path(xs, ys, x, y)]) add(chart, "path", { class: style, d });
    addText(chart, at + 18, 10, name);
    at += 26 + name.length * 5.8;
  }
  return chart;
}

/**
 * A bar for each number, up from zero or down.
 * @param {ArrayLike<number>} values
 * @param {ChartOptions & {labels?: string[], chosen?: ?number}} options `labels` stand below the bars, and `chosen` is
 * the number of a bar to point out.
 */
export function barChart(values, { labels = [], chosen = null, ...options } = {}) {
  const chart = newChart(options, [0, values.length, plain], [...extent([0, ...values]), plain]);
  const { x, bottom } = frames.get(chart);
  addBars(chart, values, x, chosen);
  const letters = Math.max(Math.floor((x.at(1) - x.at(0)) / 6), 1);
  labels.forEach((label, i) => addText(chart, x.at(i + 0.5), bottom + 13, label.slice(0, letters), "middle"));
  return chart;
}

/**
 * How often values fell into equal bins from low to high.
 * @param {ArrayLike<number>} counts
 * @param {ChartOptions} options `marker` is a value between low and high.
 */
export function histogramChart(counts, low, high, options = {}) {
  const chart = newChart(options, [low, high, plain], [0, extent(counts)[1], plain]);
  addBars(chart, counts, scale(0, counts.length, plain, left, right));
  addHorizontalAxis(chart, options);
  return chart;
}

/**
 * Move the line that marks the present moment.
 * @param {SVGSVGElement} chart
 * @param {?number} place On the horizontal axis; null hides the line.
 * @param {"now"|"other"} which A chart can have a second marker.
 */
export function moveMarker(chart, place, which = "now") {
  const { x, top, bottom } = frames.get(chart);
  const marker = chart.querySelector(`.marker-${which}`)
    ?? add(chart, "path", { class: `chart-marker marker-${which}`, d: `M0 ${top - 3}V${bottom}` });
  marker.style.visibility = place === null ? "hidden" : "";
  if (place !== null) marker.setAttribute("transform", `translate(${round(x.at(clamp(place, x.low, x.high)))} 0)`);
}

/** A chart with its vertical axis. Axes are given as lowest value, highest value and kind of scale. */
function newChart({ label = "", height = 130, top = 8, xLabel, onpick }, xAxis, yAxis) {
  const bottom = height - 18 - (xLabel ? line : 0);
  const [x, y] = [scale(...xAxis, left, right), scale(...yAxis, bottom, top)];
  const chart = element("svg", { class: "chart", role: "img", "aria-label": label, viewBox: `0 0 ${width} ${height}` });
  frames.set(chart, { top, bottom, x, y });
  let last = Infinity;
  for (const [value, text] of ticks(y)) {
    const at = y.at(value);
    add(chart, "path", { class: "chart-grid", d: `M${left} ${at}H${right}` });
    if (last - at < 11) continue; // there is no room for its text
    addText(chart, left - 5, at + 4, text, "end");
    last = at;
  }
  if (onpick) {
    chart.classList.add("pickable");
    chart.addEventListener("click", (event) => {
      const box = chart.getBoundingClientRect();
      onpick(x.back(clamp(((event.clientX - box.left) / box.width) * width, left, right)));
    });
  }
  return chart;
}

function addHorizontalAxis(chart, { xLabel = "", marker = null }) {
  const { x, bottom } = frames.get(chart);
  const marks = ticks(x).map(([value, text]) => [x.at(value), text]);
  const d = `M${left} ${bottom}H${right}${marks.map(([at]) => `M${at} ${bottom}v3`).join("")}`;
  add(chart, "path", { class: "chart-axis", d });
  for (const [at, text] of marks) addText(chart, at, bottom + 13, text, at > right - 12 ? "end" : "middle");
  addText(chart, (left + right) / 2, bottom + 13 + line, xLabel, "middle");
  if (marker !== null) moveMarker(chart, marker);
}

const plain = { to: (value) => value, from: (value) => value };
const log = { to: Math.log, from: Math.exp };
const log1p = { to: Math.log1p, from: Math.expm1 };

/** From values to places and back. */
function scale(low, high, kind, start, end) {
  if (!(high > low)) [low, high] = kind === plain ? [low - 0.5, low + 0.5] : [low, 2 * low + 1];
  const [a, b] = [kind.to(low), kind.to(high)];
  const at = (value) => start + ((kind.to(value) - a) / (b - a)) * (end - start);
  return { low, high, kind, at, back: (place) => kind.from(a + ((place - start) / (end - start)) * (b - a)) };
}

function extent(values) {
  const finite = Array.from(values).filter(Number.isFinite);
  if (finite.length === 0) return [0, 1];
  return [Math.min, Math.max].map((most) => finite.reduce((a, b) => most(a, b)));
}

/** A few round numbers within a scale, with their texts: of a logarithmic one powers of ten, if there are two. */
function ticks({ low, high, kind }) {
  if (kind !== plain) {
    const powers = Array.from({ length: 25 }, (_, i) => Number(`1e${i - 12}`));
    const inside = powers.filter((power) => power <= high && power >= (kind === log ? low : Math.max(low, 1)));
    if (inside.length > 1) return (low === 0 ? [0, ...inside] : inside).map((value) => [value, tickText(value, 3)]);
  }
  const rough = (high - low) / 4;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.99);
  const first = Math.ceil(low / step - 1e-9);
  const length = Math.floor(high / step + 1e-9) - first + 1;
  // Texts differ, however near two ticks are to each other.
  const digits = Math.max(Math.ceil(Math.log10(Math.max(-low, high) / step)) + 1, 3);
  return Array.from({ length }, (_, i) => Number(((first + i) * step).toPrecision(digits)))
    .map((value) => [value, tickText(value, digits)]);
}

function addBars(chart, values, x, chosen = null) {
  const { y } = frames.get(chart);
  const wide = (x.at(1) - x.at(0)) * 0.85;
  for (let i = 0; i < values.length; i++) {
    const [zero, end] = [y.at(0), y.at(values[i] || 0)];
    add(chart, "rect", {
      class: `chart-bar${values[i] < 0 ? " negative" : ""}${i === chosen ? " chosen" : ""}`,
      x: x.at(i + 0.5) - wide / 2, width: wide, y: Math.min(zero, end), height: Math.abs(end - zero),
    });
  }
}

function path(xs, ys, x, y) {
  // A line of one point is a dash.
  let drawn = xs.length === 1 ? `M${x.at(xs[0]) - 4} ${y.at(ys[0])}h8` : "";
  let pen = "M";
  for (let i = 0; i < xs.length; i++) {
    const top = y.at(ys[i]);
    if (Number.isFinite(top)) drawn += `${pen}${round(x.at(xs[i]))} ${round(top)}`;
    pen = Number.isFinite(top) ? "L" : "M";
  }
  return drawn;
}

function tickText(value, digits) {
  const compact = { notation: "compact", maximumSignificantDigits: digits };
  if (Math.abs(value) >= 1e4) return value.toLocaleString("en-US", compact);
  // Ticks are round: without the zeros after the point that `short` writes there is room for them.
  return short(value, digits).replace(/\.?0+e/, "e");
}

function addText(chart, x, y, content, anchor = "start") {
  add(chart, "text", { x, y, "text-anchor": anchor }).textContent = content;
}

function add(chart, tag, attributes) {
  return chart.appendChild(element(tag, attributes));
}

function element(tag, attributes) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

const round = (value) => Math.round(value * 100) / 100;
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
