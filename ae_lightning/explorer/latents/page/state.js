/** What the page shows at this moment, and everything that can be done to it. */

import { linkTo } from "explorer/address.js";
import { Observable } from "explorer/observable.js";
import { shownLatents } from "explorer/query.js";

// Between these a latent is neither rare by chance nor busy all the time.
const [rare, busy] = [1e-3, 5e-2];

const initial = {
  /** @type {?number} The latent that is shown; null on a page that has none in full. */
  latent: null,
  /** index, density, high or mean. */
  order: "index",
  query: "",
  /** Whether activations are shown on pictures. */
  marked: true,
  /** Whether all the text is shown that the file holds of a sample. */
  long: false,
  /** Width of a sample's picture, in CSS pixels. */
  tile: 112,
  /** @type {?string} A sentence about what went wrong last. */
  problem: null,
};

export class Store extends Observable {
  /** @param {import("./dictionary.js").Dictionary} dictionary */
  constructor(dictionary) {
    super();
    this.dictionary = dictionary;
    Object.assign(this, initial);
    this.opening = openingLatent(dictionary);
    this.latent = this.opening;
    this.shown = shownLatents(this);
  }

  derive(changed) {
    if (!changed.some((name) => ["order", "query"].includes(name))) return [];
    this.shown = shownLatents(this);
    return ["shown"];
  }

  /** Show a latent, on the page that has it in full. */
  select(latent) {
    const file = this.dictionary.fileOf(latent);
    if (file === null) this.set({ latent, problem: null });
    else location.href = `${file}${linkTo(this, latent)}`;
  }

  /** Show the next latent in the order of the list, or with −1 the one before. */
  step(by) {
    const place = this.shown.indexOf(this.latent) + by;
    if (place >= 0 && place < this.shown.length) this.select(this.shown[place]);
  }
}

/** The latent with which a page is opened: of those on it that fire now and then the one that fires most strongly. */
function openingLatent({ manifest, arrays: { density, high } }) {
  const all = Array.from({ length: manifest.count }, (_, place) => manifest.first + place);
  if (all.length === 0) return null;
  const usual = all.filter((latent) => density[latent] >= rare && density[latent] <= busy);
  return (usual.length > 0 ? usual : all).reduce((best, latent) => (high[latent] > high[best] ? latent : best));
}
