/**
 * Keys of a page, by a table.
 *
 * @typedef {Object} Entry
 * @property {Object<string, function>} keys Values of KeyboardEvent.key, with what each does to the store.
 * @property {string[]} shown How the keys are written.
 * @property {string} text What the list of keys says about them.
 * @property {boolean} [held] Whether they repeat while they are held.
 */

import { button, checkbox, h, isCommand, quiet, tools } from "explorer/dom.js";

let listening = true;

/** Listen to the keys of a table; each does something to the store. */
export function listenToKeys(table, store) {
  document.addEventListener("keydown", (event) => {
    const entry = table.find(({ keys }) => event.key in keys);
    if (!entry || !isFree(event) || (event.repeat && !entry.held) || (!listening && event.key !== "?")) return;
    event.preventDefault();
    entry.keys[event.key](store);
  });
}

/** Show the list of keys; the browser gives the focus back when it closes. */
export function showKeys(table) {
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
