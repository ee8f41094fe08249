/** Which latents the list shows, and in which order: what the search box and the menu ask for. */

import { counted } from "explorer/dom.js";

export const orders = [
  ["index", "number"], ["density", "how often they fire"], ["high", "largest activation"], ["mean", "mean activation"],
];

const comparisons = {
  ">": (a, b) => a > b, ">=": (a, b) => a >= b, "<": (a, b) => a < b, "<=": (a, b) => a <= b, "=": (a, b) => a === b,
};

/** Numbers that the search box can compare, and the arrays that they stand in. */
const numbers = { density: "density", largest: "high", mean: "mean" };

/** What can be searched for. */
export function searchHelp({ manifest: { classes, tokens } }) {
  const [first] = classes ?? [];
  const known = ["#37", "dead", "density>0.01", classes && `class ${first}`, tokens && "token the"];
  return `${known.filter(Boolean).join(", ")}; also largest and mean with < and >; several narrow down`;
}

/**
 * Read what was typed into the search box.
 * @returns {{tests: Array<function(number): boolean>, only: ?number, problem: ?string}} What all latents that are
 * searched for pass; the latent, if one is searched for by its number; and a sentence if it is no search.
 */
export function parseQuery(text, dictionary) {
  const tests = [];
  let [rest, only] = [text.trim(), null];
  while (rest !== "") {
    const found = firstTerm(rest, dictionary);
    const problem = found === null ? `“${rest}” is no search: try ${searchHelp(dictionary)}.` : found.problem ?? null;
    if (problem !== null) return { tests: [], only: null, problem };
    if (found.latent !== undefined && found.length === text.trim().length) only = found.latent;
    tests.push(found.test);
    rest = rest.slice(found.length).replace(/^[\s,]+/, "");
  }
  return { tests, only, problem: null };
}

/** Numbers of the latents that the list shows, in its order. */
export function shownLatents({ dictionary, query, order }) {
  const { tests } = parseQuery(query, dictionary);
  const all = Array.from({ length: dictionary.latents }, (_, latent) => latent);
  const shown = all.filter((latent) => tests.every((test) => test(latent)));
  const values = dictionary.arrays[order];
  return values ? shown.sort((a, b) => values[b] - values[a] || a - b) : shown;
}

function firstTerm(text, dictionary) {
  for (const [pattern, read] of readers(dictionary)) {
    const match = pattern.exec(text);
    if (match) return { ...read(match, dictionary), length: match[0].length };
  }
  return null;
}

function readers(dictionary) {
  return [
    [/^#?(\d+)(?=[\s,]|$)/, readLatent],
    [/^dead(?=[\s,]|$)/i, () => ({ test: (latent) => dictionary.arrays.density[latent] === 0 })],
    [classPattern(dictionary), readClass],
    [/^token\s+(?:"([^"]+)"|“([^”]+)”|([^\s,]+))/i, readToken],
    [/^([a-z]+)\s*(>=|<=|>|<|=)\s*(-?[\d.]+(?:e-?\d+)?)(?=[\s,]|$)/i, readComparison],
  ];
}

function readLatent([, digits], { latents }) {
  const wanted = Number(digits);
  if (wanted >= latents) return { problem: `There is no latent ${counted(wanted)}: they go from 0 to ${latents - 1}.` };
  return { latent: wanted, test: (latent) => latent === wanted };
}

function readClass([, name], dictionary) {
  const { classes } = dictionary.manifest;
  if (classes === null) return { problem: "These samples have no classes." };
  if (!classes.includes(name)) return { problem: `There is no class “${name}”: they are ${classes.join(", ")}.` };
  return { test: (latent) => dictionary.preferred(latent) === name };
}

function readToken([, plain, curly, word], dictionary) {
  const { tokens } = dictionary.manifest;
  if (tokens === null) return { problem: "These samples are no texts." };
  const wanted = (plain ?? curly ?? word).toLowerCase();
  const is = tokens.map((text) => text.trim().toLowerCase() === wanted);
  return { test: (latent) => dictionary.strongNumbers(latent).some((token) => is[token]) };
}

function readComparison([, name, comparison, value], dictionary) {
  const values = dictionary.arrays[numbers[name.toLowerCase()]];
  if (!values) return { problem: `“${name}” is not known: compare ${Object.keys(numbers).join(", ")}.` };
  const limit = Number(value);
  if (Number.isNaN(limit)) return { problem: "What comes after the comparison is no number." };
  return { test: (latent) => comparisons[comparison](values[latent], limit) };
}

/** Finds `class` and a name: the longest that is there, as a name can have spaces, or else a word. */
function classPattern({ manifest: { classes } }) {
  const names = [...(classes ?? [])].sort((a, b) => b.length - a.length);
  const escaped = names.map((name) => name.replace(/[^\w\s]/g, "\\$&"));
  return new RegExp(`^class\\s+(${[...escaped, "[^\\s,]+"].join("|")})(?=[\\s,]|$)`, "i");
}
