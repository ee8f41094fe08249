/** What several views say of latents and samples. */

import { h, short } from "explorer/dom.js";

/** A part of a whole, for people. */
export const percent = (part) => `${short(100 * part, part >= 0.1 ? 3 : 2)}%`;

// Signs that would be nothing to see.
const seen = { "\n": "↵", "\t": "⇥", "\r": "" };

/** A token as it is shown by itself: blanks at its ends are dots. */
export function tokenAlone(text) {
  const shown = visible(text);
  return shown.trim() === "" ? shown.replaceAll(" ", "␣") : shown.trim();
}

/** A token with signs in place of what cannot be seen, but for spaces. */
export const visible = (text) => text.replace(/[\n\t\r]/g, (sign) => seen[sign]);

/** What a latent is about, in a few letters or a picture: tokens, its strongest sample, or the class it prefers. */
export function glimpse(dictionary, latent) {
  const words = dictionary.strong(latent).slice(0, 3);
  if (words.length > 0) {
    return h("span", { class: "glimpse" }, ...words.map((text) => h("span", { class: "token-alone" }, tokenAlone(text))));
  }
  const preferred = dictionary.preferred(latent);
  const parts = preferred === null ? [] : [`class ${preferred}`];
  if (dictionary.sheets && dictionary.holds(latent)) {
    const [best] = dictionary.samples(latent);
    if (best) {
      const canvas = h("canvas", { class: "image glimpse-picture" });
      dictionary.sheets.draw(canvas, best.picture);
      parts.unshift(canvas);
    }
  }
  return h("span", { class: "glimpse quiet" }, ...parts);
}
