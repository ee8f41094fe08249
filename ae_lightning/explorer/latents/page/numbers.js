/** The shown latent in numbers: how often and how strongly it fires, on which classes, on which tokens. */

import { barChart, histogramChart } from "explorer/charts.js";
import { counted, h, quiet, short } from "explorer/dom.js";
import { facts } from "explorer/pictures.js";
import { percent, tokenAlone } from "explorer/words.js";

/** Put the view on the page. */
export function mountNumbers(store, element) {
  const { dictionary } = store;
  const { manifest } = dictionary;
  if (manifest.count === 0) {
    element.hidden = true;
    return;
  }
  const numbers = facts(["fires on", "mean where it fires", "largest", "prefers"]);
  const part = (title) => {
    const content = h("div");
    return { section: h("section", {}, h("h3", {}, title), content), content };
  };
  const histogram = part("Activations where it fires");
  const classes = part("Mean activation by class");
  const tokens = part("Tokens with at least half of its largest activation");
  tokens.content.className = "chips";
  element.append(numbers.list, ...[histogram, classes, tokens].map(({ section }) => section));
  classes.section.hidden = manifest.classes === null;
  tokens.section.hidden = manifest.tokens === null;
  store.on("latent", () => {
    showFacts(dictionary, store.latent, numbers.show);
    histogram.content.replaceChildren(histogramOf(dictionary, store.latent));
    if (manifest.classes !== null) classes.content.replaceChildren(...classesOf(dictionary, store.latent));
    if (manifest.tokens !== null) tokens.content.replaceChildren(...tokensOf(dictionary, store.latent));
  });
}

function showFacts(dictionary, latent, show) {
  const { density, mean, high } = dictionary.arrays;
  const fires = density[latent] > 0;
  const rank = density.reduce((count, value) => count + (value > density[latent]), 1);
  show("fires on", fires ? `${percent(density[latent])} of rows, rank ${counted(rank)}` : "no row");
  show("mean where it fires", fires ? short(mean[latent]) : "");
  show("largest", fires ? short(high[latent]) : "");
  show("prefers", preference(dictionary, latent));
}

/** The class it prefers, and on how much of that class it fires. */
function preference(dictionary, latent) {
  const name = dictionary.preferred(latent);
  if (name === null) return "";
  const [own] = dictionary.row("preferred_density", latent);
  return `class ${name}: fires on ${percent(own)} of its rows`;
}

function histogramOf(dictionary, latent) {
  if (dictionary.arrays.density[latent] === 0) return quiet("It is silent on all rows.");
  const [low] = dictionary.row("low", latent);
  const high = dictionary.arrays.high[latent];
  const label = `Histogram of activations that are not 0, from ${short(low)} to ${short(high)}`;
  return histogramChart(dictionary.row("histogram", latent), low, high, { label, height: 96, xLabel: "activation" });
}

function classesOf(dictionary, latent) {
  const preferred = dictionary.preferred(latent);
  if (preferred === null) return [quiet("It answers none.")];
  const means = dictionary.row("class_mean", latent);
  const labels = Array.from(dictionary.row("class", latent), (number) => dictionary.className(number));
  const chosen = labels.indexOf(preferred);
  const label = `Mean activation by class; most for ${preferred}, ${short(means[chosen])}`;
  const some = labels.length < dictionary.manifest.classes.length ? [quiet(`The ${labels.length} with the largest.`)] : [];
  return [barChart(means, { label, labels, chosen, height: 96 }), ...some];
}

function tokensOf(dictionary, latent) {
  const counts = dictionary.row("strong_count", latent);
  const chips = dictionary.strong(latent).map((text, i) =>
    h("span", { class: "token-chip" }, h("span", { class: "token-alone" }, tokenAlone(text)),
      h("span", { class: "quiet number" }, `×${counted(counts[i])}`)));
  return chips.length > 0 ? chips : [quiet("There are none.")];
}
