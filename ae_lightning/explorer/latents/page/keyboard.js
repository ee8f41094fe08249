/** The keyboard: what each key does, and the words that the list of keys says about it. */

import { announce } from "explorer/dom.js";
import { listenToKeys, showKeys } from "explorer/keys.js";

const table = [
  { shown: ["p", "n"], text: "previous or next latent of the list", held: true,
    keys: { p: (store) => next(store, -1), n: (store) => next(store, 1) } },
  { shown: ["←", "→"], text: "the same", held: true,
    keys: { ArrowLeft: (store) => next(store, -1), ArrowRight: (store) => next(store, 1) } },
  { shown: ["/"], text: "search the latents", keys: { "/": search } },
  { shown: ["m"], text: "mark places on pictures, or leave them as they are",
    keys: { m: (store) => store.set({ marked: !store.marked }) } },
  { shown: ["t"], text: "more or less text of each sample", keys: { t: (store) => store.set({ long: !store.long }) } },
  { shown: ["?"], text: "show this list", keys: { "?": () => showKeys(table) } },
];

/** Listen to the keys. */
export const mountKeyboard = (store) => listenToKeys(table, store);

/** Show the list of keys. */
export const showKeyboard = () => showKeys(table);

function next(store, by) {
  store.step(by);
  if (store.latent !== null) announce(`Latent ${store.latent}.`);
}

function search() {
  const field = document.querySelector("#list input[type=search]");
  field.focus();
  field.select();
}
