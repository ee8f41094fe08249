/** View 6: the training in its snapshots, with the curves of loss and probes. */

import { lineChart, moveMarker } from "explorer/charts.js";
import { mountComparison } from "explorer/comparison.js";
import { button, counted, h, menu, quiet, short, tools } from "explorer/dom.js";
import { whenIdle } from "explorer/rows.js";

const pause = 500;

const captions = { probe: "linear probe, accuracy", probe_full: "linear probe of all samples, accuracy" };

/** Put the view into its element. */
export function mountTraining(store, element) {
  const { snapshots } = store.session.manifest;
  const now = h("p", { class: "number" });
  element.append(now);
  if (snapshots.length > 1) {
    element.append(controls(store), options(store));
    prefetch(store);
    play(store);
  } else {
    element.append(quiet("This file holds one snapshot: there is no time to move in. "
      + "--snapshots exports more."));
  }
  mountCurves(store, element);
  if (snapshots.length > 1) mountComparison(store, element);
  store.on("snapshot", () => {
    const final = store.snapshot === store.session.manifest.final ? ", the checkpoint" : "";
    now.textContent = `${describe(snapshots[store.snapshot])}${final}`;
  });
}

function describe({ step, samples_seen: seen }) {
  return `Step ${counted(step)}, ${counted(seen)} samples seen`;
}

/** First, previous, play, next, last, and a slider. */
function controls(store) {
  const { snapshots } = store.session.manifest;
  const last = snapshots.length - 1;
  const go = (text, title, target) => button(text, () => store.showSnapshot(target()), { title, class: "icon" });
  const first = go("«", "First snapshot", () => 0);
  const previous = go("‹", "Previous snapshot", () => store.snapshot - 1);
  const playing = button("Play", () => store.set({ playing: !store.playing }), { class: "play" });
  const next = go("›", "Next snapshot", () => store.snapshot + 1);
  const end = go("»", "Last snapshot", () => last);
  const slider = h("input", {
    type: "range", min: 0, max: last, "aria-label": "Snapshot", oninput: () => store.showSnapshot(slider.valueAsNumber),
  });
  // Also after a damaged snapshot the slider stands at the one that is shown.
  store.on("snapshot problem", () => {
    slider.value = store.snapshot;
    slider.setAttribute("aria-valuetext", describe(snapshots[store.snapshot]));
    first.disabled = previous.disabled = store.snapshot === 0;
    next.disabled = end.disabled = store.snapshot === last;
  });
  store.on("playing", () => (playing.textContent = store.playing ? "Pause" : "Play"));
  return h("div", { class: "tools player" }, first, previous, playing, next, end, slider);
}

/** What is kept from one snapshot to the next, and a second snapshot. */
function options(store) {
  const { snapshots, final } = store.session.manifest;
  const follow = menu("Keep", [["unit", "the same unit"], ["rank", "the unit of its rank"]],
    (value) => store.set({ follow: value }));
  const steps = snapshots.map(({ step }, i) => [i, `step ${counted(step)}${i === final ? ", checkpoint" : ""}`]);
  const compare = menu("Beside it", [["", "nothing"], ...steps],
    (value) => store.set({ compared: value === "" ? null : Number(value) }));
  store.on("follow", () => (follow.select.value = store.follow));
  store.on("compared", () => (compare.select.value = store.compared ?? ""));
  return tools(follow.label, compare.label);
}

/** From one snapshot to the next until the last; begun at the last one it goes from the first. */
function play(store) {
  const last = store.session.manifest.snapshots.length - 1;
  let timer = null;
  const step = async () => {
    const began = performance.now();
    await store.showSnapshot(store.snapshot === last ? 0 : store.snapshot + 1);
    if (store.snapshot === last) store.set({ playing: false });
    if (store.playing) timer = setTimeout(step, Math.max(pause - (performance.now() - began), 0));
  };
  store.on("playing", () => {
    clearTimeout(timer);
    if (store.playing) step();
  });
}

/** Decode the snapshots on both sides of the shown one while there is time. */
function prefetch(store) {
  const { session } = store;
  const fetch = whenIdle(() => {
    for (const index of [store.snapshot - 1, store.snapshot + 1]) {
      // A damaged one says so when it is asked for.
      if (index >= 0 && index < session.manifest.snapshots.length) session.network(index).catch(() => {});
    }
  }, 20);
  store.on("snapshot", fetch);
}

/** One chart for each quantity, with the lines that can be compared in it. */
function mountCurves(store, element) {
  const { curves, snapshots } = store.session.manifest;
  if (curves.length === 0) return;
  const names = [...new Set(curves.map(chartOf))];
  const charts = names.map((name) => curveChart(store, name, curves.filter((one) => chartOf(one) === name)));
  const figures = charts.map((chart, i) => h("figure", {}, h("figcaption", {}, captions[names[i]] ?? names[i]), chart));
  element.append(h("div", { class: "charts" }, ...figures));
  if (snapshots.length > 1) element.append(quiet("Click a curve to go to the nearest snapshot."));
  store.on("snapshot compared", () => {
    for (const chart of charts) {
      moveMarker(chart, snapshots[store.snapshot].step);
      moveMarker(chart, snapshots[store.compared]?.step ?? null, "other");
    }
  });
}

/** train/loss and val/loss belong together, and so do probe/code and probe/pixels. */
function chartOf({ name, group }) {
  const [first, ...rest] = name.split("/");
  return group === "loss" && rest.length > 0 ? rest.join("/") : first;
}

function curveChart(store, name, curves) {
  const { snapshots } = store.session.manifest;
  const lines = curves.map((curve) => ({ name: shortName(curve, name), x: curve.steps, y: curve.values }));
  const said = lines.map((line) => `${line.name} from ${short(line.y[0])} to ${short(line.y.at(-1))}`).join(", ");
  const values = curves.flatMap((curve) => curve.values);
  return lineChart(lines, {
    label: `${name} in the course of training: ${said}`, xLabel: "step",
    // Where most snapshots are early ones there is most to see there.
    logX: snapshots[snapshots.length >> 1].step < snapshots.at(-1).step / 4,
    logY: curves[0].group === "loss" && Math.max(...values) > 5 * Math.min(...values),
    onpick: (step) => store.showSnapshot(store.session.nearestSnapshot(step)),
  });
}

function shortName({ name }, chart) {
  return name.split("/").filter((part) => part !== chart).join("/") || name;
}
