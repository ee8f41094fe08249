/** The keyboard: what each key does, and the words that the list of keys says about it. */

import { announce } from "explorer/dom.js";
import { listenToKeys, showKeys } from "explorer/keys.js";
import { stepUnit } from "explorer/units.js";

const table = [
  { shown: ["←", "→"], text: "previous or next sample (in the units and the map: move there)", held: true,
    keys: { ArrowLeft: (store) => step(store, -1), ArrowRight: (store) => step(store, 1) } },
  { shown: ["p", "n"], text: "previous or next unit in the order shown", held: true,
    keys: { p: (store) => nextUnit(store, -1), n: (store) => nextUnit(store, 1) } },
  { shown: ["/"], text: "search the units", keys: { "/": searchUnits } },
  { shown: ["x"], text: "switch the shown unit off or on again", keys: { x: switchUnit } },
  { shown: ["u"], text: "undo", held: true, keys: { u: (store) => store.undo() } },
  { shown: ["0"], text: "restore all units", keys: { 0: (store) => store.restoreAll() } },
  { shown: ["Space"], text: "play or pause the training",
    keys: { " ": (store) => store.set({ playing: !store.playing && store.session.importances.length > 1 }) } },
  { shown: ["[", "]"], text: "previous or next snapshot", held: true,
    keys: {
      "[": (store) => store.showSnapshot(store.snapshot - 1), "]": (store) => store.showSnapshot(store.snapshot + 1),
    } },
  { shown: ["d", "e", "v"], text: "draw, erase or pick pixels of the input",
    keys: { d: take("draw"), e: take("erase"), v: take("pick") } },
  { shown: ["?"], text: "show this list", keys: { "?": () => showKeys(table) } },
];

/** Listen to the keys. */
export const mountKeyboard = (store) => listenToKeys(table, store);

/** Show the list of keys. */
export const showKeyboard = () => showKeys(table);

function step(store, by) {
  store.selectSample(store.sample === null ? 0 : store.sample + by);
}

function take(tool) {
  return (store) => {
    store.set({ tool });
    announce(`Tool: ${tool}.`);
  };
}

function nextUnit(store, by) {
  stepUnit(store, by);
  announce(`Unit ${store.unit}.`);
}

function switchUnit(store) {
  store.toggle(store.layer, store.unit);
  announce(`Unit ${store.unit} is ${store.operationOn(store.layer, store.unit) ? "off" : "on"}.`);
}

function searchUnits() {
  const field = document.querySelector("#atlas input[type=search]");
  field?.focus();
  field?.select();
}
