/** The parts of the unit panel below its numbers: samples, classes, pixels, neighbors and its history. */

import { barChart, histogramChart, moveMarker } from "explorer/charts.js";
import { button, counted, h, quiet, short } from "explorer/dom.js";
import { History } from "explorer/history.js";
import { cellOf, largest, paintSample, paintSigned } from "explorer/paint.js";
import { pictureButton } from "explorer/pictures.js";
import { isDirect, rowOf, whenIdle } from "explorer/rows.js";
import { ranked } from "explorer/store.js";
import { similarities } from "explorer/units.js";

const strongest = 6;
const nearest = 8;
const none = 65535;

/** All parts; the functions that come with them bring them up to date. */
export function unitParts(store) {
  const { samples, final, snapshots, evaluated, causal_samples: causal } = store.session.manifest;
  const statistics = quiet();
  const part = (title, kind = "") => {
    const content = h("div", { class: kind });
    return { section: h("section", {}, h("h3", {}, title), content), content };
  };
  const histogram = part("Activations on the test samples");
  const top = part(`The samples that excite it most, of ${counted(samples.count)}`, "thumbs");
  const classes = part("Mean activation by class");
  const entries = store.session.input.is_image ? "Pixels" : "Entries";
  const reads = part(`${entries} it reads most`, "chips");
  const writes = part(`${entries} it writes most`, "chips");
  const near = part("Nearest units, by the cosine of what they read", "thumbs");
  const past = part("At each snapshot", "thumbs");
  const showNear = whenIdle(() => fillNear(store, near.content), 60);
  const showPast = pastOf(store, past.content);
  let chart = null;
  store.on("layer", () => (statistics.textContent = `Statistics: checkpoint of step ${counted(snapshots[final].step)}, `
    + `${counted(evaluated)} test samples, causal importance ${counted(causal[store.layer])}.`));
  return {
    elements: [statistics, ...[histogram, top, classes, reads, writes, near, past].map(({ section }) => section)],
    /** @param {boolean} another Whether it is another unit than before, and not another snapshot only. */
    showUnit(another) {
      showNear();
      if (!another) return;
      chart = fillHistogram(store, histogram.content);
      fillTop(store, top.content);
      classes.section.hidden = !fillClasses(store, classes.content);
      showPast();
    },
    showPixels(read, written) {
      fillPixels(store, reads.content, "input", read);
      fillPixels(store, writes.content, "output", written);
    },
    showActivation(activation) {
      if (chart !== null) moveMarker(chart, activation === 0 ? null : activation);
    },
  };
}

/** The part of an array with a row for each unit that belongs to the shown one. */
function own({ session, layer, unit }, values) {
  const width = values.length / session.hiddenLayers[layer].units;
  return values.subarray(unit * width, (unit + 1) * width);
}

/** @returns {?SVGSVGElement} The chart; null for a unit that is always silent. */
function fillHistogram(store, element) {
  const { histogram, low, high } = store.session.units[store.layer];
  const [from, to] = [low[store.unit], high[store.unit]];
  const counts = own(store, histogram);
  const silent = counts.every((count) => count === 0);
  const label = `Histogram of activations that are not 0, from ${short(from)} to ${short(to)}`;
  const options = { label, height: 90, xLabel: "activation, where not 0" };
  const chart = silent ? null : histogramChart(counts, from, to, options);
  element.replaceChildren(chart ?? quiet("It is silent on all of them."));
  return chart;
}

function fillTop(store, element) {
  const { session } = store;
  const { top, top_activation: activations } = session.units[store.layer];
  const values = own(store, activations);
  const samples = [...own(store, top)].filter((sample) => sample !== none);
  const buttons = samples.map((sample, i) => {
    const name = session.className(sample);
    const title = `Sample ${sample}${name === null ? "" : `, class ${name}`}: take it as input`;
    const paint = (canvas) => paintSample(canvas, session.sample(sample), session.input);
    return pictureButton(paint, short(values[i], 2), title, () => store.selectSample(sample));
  });
  element.replaceChildren(...buttons);
  if (buttons.length === 0) element.append(quiet("None of them does."));
}

/** @returns {boolean} Whether there are classes, and the unit answers any. */
function fillClasses(store, element) {
  const { class_mean: means } = store.session.units[store.layer];
  const { classes } = store.session.manifest.samples;
  if (means === null) return false;
  const row = own(store, means);
  const [most] = ranked(row);
  const label = `Mean activation by class; most for ${classes[most]}, ${short(row[most])}`;
  element.replaceChildren(barChart(row, { label, labels: classes, chosen: most, height: 90 }));
  return row.some((mean) => mean !== 0);
}

function fillPixels(store, element, side, row) {
  const { input } = store.session;
  const indices = ranked(row.map(Math.abs)).slice(0, strongest).filter((index) => row[index] !== 0);
  element.replaceChildren(...indices.map((index) => {
    const { column, row: line } = cellOf(index, input);
    const plane = Math.floor(index / (input.width * input.height));
    const channel = input.planes === 3 ? [" red", " green", " blue"][plane] : "";
    const title = input.is_image ? `Row ${line}, column ${column}${channel}: show this pixel` : `Number ${index}: show it`;
    const text = `${input.is_image ? `${line}, ${column}${channel}` : index}: ${short(row[index], 2)}`;
    const choose = () => store.set({ pixel: { side, index } });
    return button(text, choose, { title, class: "chip number", "data-sign": Math.sign(row[index]) });
  }));
}

function fillNear(store, element) {
  const cosines = similarities(store, store.unit);
  const others = ranked(cosines).filter((other) => other !== store.unit).slice(0, nearest);
  element.replaceChildren(...others.map((other) => {
    const close = short(cosines[other], 2);
    const paint = (canvas) => paintSigned(canvas, rowOf(store, "reads", other), store.session.input);
    return pictureButton(paint, `#${other}\n${close}`, `Unit ${other}, cosine ${close}`, () => store.selectUnit(other));
  }));
}

/** The unit's picture at each snapshot; a click shows that snapshot. @returns {function()} Brings it up to date. */
function pastOf(store, element) {
  const { snapshots, input } = store.session.manifest;
  const history = new History(store.session);
  let asked = 0;
  const mark = () => [...element.querySelectorAll("button")].forEach((each, index) =>
    each.setAttribute("aria-pressed", index === store.snapshot));
  const fill = (rows) => {
    const reach = Math.max(...rows.map(largest));
    element.replaceChildren(...rows.map((row, index) => {
      const paint = (canvas) => paintSigned(canvas, row, input, reach);
      const { step } = snapshots[index];
      return pictureButton(paint, counted(step), `Step ${step}: show this snapshot`, () => store.showSnapshot(index));
    }));
    mark();
  };
  const show = whenIdle(async () => {
    const turn = ++asked;
    const side = [store.drawn, "reads", "writes"].find((each) => isDirect(store, each));
    try {
      if (side === undefined) throw new Error("Layers lie between this unit and the pixels, before and after it.");
      const rows = await history.rows(side === "reads" ? 0 : store.network.last, store.unit);
      if (turn === asked) fill(rows);
    } catch (error) {
      if (turn === asked) element.replaceChildren(quiet(error.message));
    }
  }, 60);
  store.on("drawn", show);
  store.on("snapshot", mark);
  return show;
}
