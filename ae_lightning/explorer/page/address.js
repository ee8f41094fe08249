/**
 * Deep links: the address names what is shown, as `#unit=37&sample=4&snapshot=12`; `#37` alone is that unit, too.
 *
 * `snapshot` is an optimizer step, and the nearest snapshot is taken, so that a link also fits a file that holds other
 * ones. What was drawn by hand is not in the address.
 */

import { parseQuery } from "explorer/units.js";

/** Characters of an address that are repeated on the page. */
const longest = 20;

/** What an address tells of. */
export const told = "unit layer sample snapshot pixel surgery order query";

/** The address of what is shown, with what differs from the start only. */
export function addressOf(store) {
  const { manifest } = store.session;
  const parts = {
    layer: store.layer === manifest.code ? null : store.layer,
    unit: store.unit === store.openingUnit(store.layer) ? null : store.unit,
    sample: store.sample === 0 ? null : store.sample,
    snapshot: store.snapshot === manifest.final ? null : manifest.snapshots[store.snapshot].step,
    pixel: store.pixel && `${store.pixel.side}:${store.pixel.index}`,
    surgery: store.surgery.map(written).join(",") || null,
    order: store.order === "importance" ? null : store.order,
    search: store.query || null,
  };
  const named = Object.entries(parts).filter(([, value]) => value !== null);
  return named.length === 0 ? "" : `#${new URLSearchParams(named)}`;
}

function written({ layer, unit, kind, value }) {
  return [layer, unit, kind, value].join(":");
}

/** Show what an address names; a unit that there is not is told, and what else makes no sense in this file left out. */
export async function show(store, hash) {
  const named = new URLSearchParams(hash.slice(1));
  const { manifest, hiddenLayers, pixels } = store.session;
  const layer = wholeNumber(named.get("layer"), hiddenLayers.length) ?? manifest.code;
  store.selectLayer(layer);
  const sample = wholeNumber(named.get("sample"), manifest.samples.count) ?? 0;
  if (sample !== store.sample || store.edited) store.selectSample(sample);
  const search = named.get("search") ?? "";
  const orders = ["importance", "causal", "activation", "index", "similarity"];
  const asked = named.get("unit") ?? [...named.keys()].find((name) => isNumber(name)) ?? null;
  const { units, name } = hiddenLayers[layer];
  const unit = wholeNumber(asked, units) ?? store.openingUnit(layer);
  store.set({
    unit,
    pixel: pixelOf(named.get("pixel"), pixels),
    surgery: surgeryOf(named.get("surgery"), hiddenLayers),
    order: orders.includes(named.get("order")) ? named.get("order") : "importance",
    query: parseQuery(search, store).problem === null ? search : "",
  });
  const step = wholeNumber(named.get("snapshot"), Infinity);
  await store.showSnapshot(step === null ? manifest.final : store.session.nearestSnapshot(step));
  store.set({ unit }); // where a unit's rank is followed, another one has taken its place
  if (asked !== null && wholeNumber(asked, units) === null) {
    const of = hiddenLayers.length > 1 ? ` of ${name}` : "";
    store.set({ problem: `The address asks for unit “${asked.slice(0, longest)}”, but the units${of} go from 0 to ${units - 1}.` });
  }
}

const isNumber = (text) => /^[-+]?[\d.]+$/.test(text);

function wholeNumber(text, limit) {
  const number = /^\d+$/.test(text ?? "") ? Number(text) : NaN;
  return number < limit ? number : null;
}

function pixelOf(text, pixels) {
  const [side, index] = (text ?? "").split(":");
  const number = wholeNumber(index, pixels);
  return ["input", "output"].includes(side) && number !== null ? { side, index: number } : null;
}

function surgeryOf(text, hiddenLayers) {
  const operations = (text ?? "").split(",").map((part) => {
    const [layer, unit, kind, value] = part.split(":");
    return { layer: wholeNumber(layer, hiddenLayers.length), unit, kind, value: parseFloat(value) };
  });
  return operations
    .filter(({ layer, value }) => layer !== null && Number.isFinite(value))
    .filter(({ kind }) => ["off", "clamp", "scale"].includes(kind))
    .map((operation) => ({ ...operation, unit: wholeNumber(operation.unit, hiddenLayers[operation.layer].units) }))
    .filter(({ layer, unit }, place, all) => unit !== null
      && all.findIndex((other) => other.layer === layer && other.unit === unit) === place);
}
