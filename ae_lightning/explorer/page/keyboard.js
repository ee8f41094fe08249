/** The keyboard: one table of keys, what each does, and the words that the list of keys says about it. */

import { announce, button, checkbox, h, isCommand, quiet, tools } from "explorer/dom.js";
import { stepUnit } from "explorer/units.js";

let listening = true;

// `keys` are values of KeyboardEvent.key with what each does, `shown` is how they are written; `held` ones repeat.
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
  { shown: ["?"], text: "show this list", keys: { "?": () => showKeys() } },
];

/** Listen to the keys of the table. */
export function mountKeyboard(store) {
  document.addEventListener("keydown", (event) => {
    const entry = table.find(({ keys }) => event.key in keys);
    if (!entry || !isFree(event) || (event.repeat && !entry.held) || (!listening && event.key !== "?")) return;
    event.preventDefault();
    entry.keys[event.key](store);
  });
}

/** Show the list of keys; the browser gives the focus back when it closes. */
export function showKeys() {
  if (document.querySelector("dialog[open]")) return;
  const rows = table.map(({ shown, text }) =>
    h("tr", {}, h("th", { scope: "row" }, ...shown.map((key) => h("kbd", {}, key))), h("td", {}, text)));
  const { box, label } = checkbox("Listen to keys", (checked) => (listening = checked));
  box.checked = listening;
  const dialog = h("dialog", { class: "keys", "aria-labelledby": "keys-title", onclose: () => dialog.remove() },
    h("h2", { id: "keys-title" }, "Keys"),
    h("table", {}, ...rows),
    quiet("They rest while you type, and with Ctrl, Alt or ⌘ held."),
    tools(button("Close", () => dialog.close(), { class: "primary", autofocus: true }), label));
  document.body.append(dialog);
  dialog.showModal();
}

/** Whether a key belongs to nobody else: no other view, no dialog, no field, no slider, no button. */
function isFree(event) {
  if (event.defaultPrevented || isCommand(event)) return false;
  if (document.querySelector("dialog[open]")) return false;
  const isAt = (selector) => event.target.closest(selector) !== null;
  if (isAt("select, input:not([type=range], [type=checkbox])")) return false;
  return event.key === " " ? !isAt("button, a, input") : !event.key.startsWith("Arrow") || !isAt("input");
}

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
