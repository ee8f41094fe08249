/** Which units the atlas shows, and in which order: what the search box and the menus ask for. */

import { cosine } from "explorer/network.js";
import { rowsOf } from "explorer/rows.js";
import { ranked } from "explorer/store.js";

/** Numbers that the search box can compare, and where they come from. */
const numbers = {
  act: (store) => store.result.hidden[store.layer],
  mean: (store) => store.session.units[store.layer].mean,
  density: (store) => store.session.units[store.layer].density,
  importance: (store) => store.importance,
  causal: (store) => store.session.units[store.layer].causal,
};

const comparisons = {
  ">": (a, b) => a > b, ">=": (a, b) => a >= b, "<": (a, b) => a < b, "<=": (a, b) => a <= b, "=": (a, b) => a === b,
};

export const searchHelp =
  "#37, dead, act>0.2, class 7, like #37; also mean, density, importance and causal with < and >; several narrow down";

/**
 * Read what was typed into the search box.
 * @returns {{terms: Object[], problem: ?string}} The problem is a sentence, and terms are then empty.
 */
export function parseQuery(text, store) {
  const terms = [];
  let rest = text.trim();
  while (rest !== "") {
    const found = firstTerm(rest, store);
    const problem = found === null ? `“${rest}” is no search: try ${searchHelp}.` : problemOf(found.term, store);
    if (problem) return { terms: [], problem };
    terms.push(found.term);
    rest = rest.slice(found.length).replace(/^[\s,]+/, "");
  }
  return { terms, problem: null };
}

/** The units that the atlas shows, in its order. */
export function shownUnits(store) {
  const { terms } = parseQuery(store.query, store);
  const like = terms.find((term) => term.kind === "like");
  const activations = store.result.hidden[store.layer];
  const tests = terms.filter((term) => term.kind !== "like").map((term) => testOf(term, store));
  if (store.activeOnly) tests.push((unit) => activations[unit] !== 0);
  const order = like ? bySimilarity(store, like.unit) : ordered(store);
  return order.filter((unit) => tests.every((test) => test(unit)));
}

/** The unit that is searched for by its number, and nothing else; null if it is another search. */
export function onlyUnit(store) {
  const [term, ...others] = parseQuery(store.query, store).terms;
  return term?.kind === "unit" && others.length === 0 ? term.unit : null;
}

/** Choose the next unit in the atlas' order, or with −1 the one before; the first one where the present is not shown. */
export function stepUnit(store, by) {
  const units = shownUnits(store);
  const place = units.indexOf(store.unit);
  if (units.length > 0) store.selectUnit(units[place < 0 ? 0 : Math.min(Math.max(place + by, 0), units.length - 1)]);
}

/** Cosines of what each unit of the shown layer reads with what one of them reads. */
export function similarities(store, unit) {
  const rows = rowsOf(store, "reads");
  const width = store.network.pixels;
  const own = rows.subarray(unit * width, (unit + 1) * width);
  return Float32Array.from({ length: rows.length / width }, (_, other) =>
    cosine(own, rows.subarray(other * width, (other + 1) * width)),
  );
}

/** The class that each unit answers most strongly on average; -1 for a unit that is silent, or without classes. */
function preferredClass(store, unit) {
  const means = store.session.units[store.layer].class_mean;
  if (means === null) return -1;
  const classes = store.session.manifest.samples.classes.length;
  const row = Array.from(means.subarray(unit * classes, (unit + 1) * classes));
  const most = Math.max(...row);
  return row.every((mean) => mean === 0) ? -1 : row.indexOf(most);
}

function ordered(store) {
  const { order, unit } = store;
  if (order === "index") return Array.from(store.importance, (_, index) => index);
  if (order === "similarity") return bySimilarity(store, unit);
  if (order === "activation") return ranked(store.result.hidden[store.layer].map(Math.abs));
  return ranked(order === "causal" ? store.session.units[store.layer].causal : store.importance);
}

function bySimilarity(store, unit) {
  const cosines = similarities(store, unit);
  cosines[unit] = Infinity; // itself first, also where a row is zero
  return ranked(cosines);
}

function firstTerm(text, store) {
  const readers = [
    [/^#?(\d+)(?=[\s,]|$)/, (match) => ({ kind: "unit", unit: Number(match[1]) })],
    [/^dead(?=[\s,]|$)/i, () => ({ kind: "dead" })],
    [/^like\s*#?(\d+)(?=[\s,]|$)/i, (match) => ({ kind: "like", unit: Number(match[1]) })],
    [classPattern(store), (match) => ({ kind: "class", name: match[1] })],
    [/^([a-z]+)\s*(>=|<=|>|<|=)\s*(-?[\d.]+(?:e-?\d+)?)(?=[\s,]|$)/i, (match) => ({
      kind: "number", name: match[1].toLowerCase(), comparison: match[2], value: Number(match[3]),
    })],
  ];
  for (const [pattern, read] of readers) {
    const match = pattern.exec(text);
    if (match) return { term: read(match), length: match[0].length };
  }
  return null;
}

/** Finds `class` and a name: the longest that is there, as a name can have spaces, or else a word. */
function classPattern({ session }) {
  const names = [...(session.manifest.samples.classes ?? [])].sort((a, b) => b.length - a.length);
  const escaped = names.map((name) => name.replace(/[^\w\s]/g, "\\$&"));
  return new RegExp(`^class\\s+(${[...escaped, "[^\\s,]+"].join("|")})(?=[\\s,]|$)`, "i");
}

function problemOf(term, store) {
  const { units } = store.session.hiddenLayers[store.layer];
  if (term.unit >= units) return `There is no unit ${term.unit}: they go from 0 to ${units - 1}.`;
  if (term.kind === "number" && !(term.name in numbers)) {
    return `“${term.name}” is not known: compare ${Object.keys(numbers).join(", ")}.`;
  }
  if (term.kind === "number" && Number.isNaN(term.value)) return "What comes after the comparison is no number.";
  if (term.kind === "class") {
    const { classes } = store.session.manifest.samples;
    if (classes === null) return "These data have no classes.";
    if (!classes.includes(term.name)) return `There is no class “${term.name}”: they are ${classes.join(", ")}.`;
  }
  return null;
}

function testOf(term, store) {
  if (term.kind === "unit") return (unit) => unit === term.unit;
  if (term.kind === "dead") return (unit) => store.session.units[store.layer].density[unit] === 0;
  if (term.kind === "class") {
    const wanted = store.session.manifest.samples.classes.indexOf(term.name);
    return (unit) => preferredClass(store, unit) === wanted;
  }
  const values = numbers[term.name](store);
  return (unit) => comparisons[term.comparison](values[unit], term.value);
}
