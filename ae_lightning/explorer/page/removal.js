/** The curve of the error against the number of units removed: over the test set, and for the present input. */

import { activated } from "explorer/activations.js";
import { lineChart, moveMarker } from "explorer/charts.js";
import { counted, h, quiet, short } from "explorer/dom.js";
import { meanSquaredError } from "explorer/network.js";
import { whenIdle } from "explorer/rows.js";
import { ranked } from "explorer/store.js";

const forwardPasses = 33;

/** Put the curve at the end of an element. It is computed after a while without changes, and when it can be seen. */
export function mountRemovalCurve(store, element) {
  const place = h("div", { class: "removal" });
  const note = quiet();
  element.append(h("h3", {}, "Error without the most important units"), place, note);
  const state = { seen: false, old: true };
  const draw = whenIdle(() => {
    if (!state.seen || !state.old) return;
    state.old = false;
    place.replaceChildren(chartOf(store));
    mark();
  }, 150);
  const mark = () => {
    const off = store.surgery.filter(({ layer, kind }) => layer === store.layer && kind === "off").length;
    if (place.firstChild && !state.old) moveMarker(place.firstChild, off);
    const isFinal = store.snapshot === store.session.manifest.final;
    const older = isFinal ? "" : " The curve of the test samples is the checkpoint's.";
    const now = `The line marks those off now: ${counted(off)}.`;
    note.textContent = `In order of importance, with nothing else done.${older} ${now}`;
  };
  new IntersectionObserver(([{ isIntersecting }]) => {
    state.seen = isIntersecting;
    draw();
  }, { rootMargin: "200px" }).observe(place);
  store.on("input network layer", () => {
    state.old = true;
    draw();
  });
  store.on("surgery", mark);
}

function chartOf(store) {
  const { counts, errors, samples } = store.session.manifest.removal[store.layer];
  const own = ownCurve(store);
  return lineChart([{ name: `${counted(samples)} test samples`, x: counts, y: errors },
    { name: "this input", x: own.counts, y: own.errors }], {
    label: "Error against the number of units removed: "
      + `test samples from ${short(errors[0])} to ${short(errors.at(-1))}, `
      + `this input from ${short(own.errors[0])} to ${short(own.errors.at(-1))}`,
    xLabel: "units off", low: 0, height: 150,
    // Where few units do it all, the curve is steep at its beginning.
    logX: errors.length > 9 && errors[2] > (errors[0] + errors.at(-1)) / 2,
  });
}

/**
 * The error of the present input without the k most important units of the shown layer, for several k.
 * @returns {{counts: number[], errors: number[]}}
 */
function ownCurve(store) {
  const { network, layer, input } = store;
  const order = ranked(store.importance);
  const values = network.forward(input).hidden[layer];
  if (layer === network.last - 1) return byContributions(network, input, values, order);
  const pieces = Math.min(order.length, forwardPasses - 1);
  const counts = Array.from({ length: pieces + 1 }, (_, i) => Math.round((i * order.length) / pieces));
  const errors = counts.map((count) => {
    for (const unit of order.slice(0, count)) values[unit] = 0;
    return outputError(network, network.sumAfter(layer, values), input);
  });
  return { counts, errors };
}

/** From the last unit to the first each adds its part of the output: all of it costs about two forward passes. */
function byContributions(network, input, values, order) {
  const sum = Float64Array.from(network.layers[network.last].bias);
  const errors = [outputError(network, sum, input)];
  for (const unit of [...order].reverse()) {
    const [row, value] = [network.row(network.last, unit), values[unit]];
    if (value !== 0) for (let pixel = 0; pixel < sum.length; pixel++) sum[pixel] += value * row[pixel];
    errors.push(value === 0 ? errors.at(-1) : outputError(network, sum, input)); // without a silent unit it stays
  }
  return { counts: Array.from(errors.keys()), errors: errors.reverse() };
}

function outputError(network, sum, input) {
  const layer = network.layers[network.last];
  return meanSquaredError(layer.activation === "none" ? sum : activated(layer, sum), input);
}
