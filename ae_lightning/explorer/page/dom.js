/** Small helpers for building the page. Text always goes in as text, never as markup. */

/**
 * Make an element.
 * @param {string} tag
 * @param {Object} properties `class`, `on…` listeners, `data-…`, `aria-…` and other attributes; true stands for an
 * attribute without a value, and false, null and undefined leave it out.
 * @param {...(Node|string|null)} children
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (![false, null, undefined].includes(value)) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null));
  return element;
}

/** A button; `title` is shown on hovering, and read aloud where the text is a sign only, as on one of class "icon". */
export function button(text, onclick, { title = null, ...properties } = {}) {
  const label = properties.class === "icon" ? title : null;
  return h("button", { type: "button", title, "aria-label": label, onclick, ...properties }, text);
}

/** A check box with its label. */
export function checkbox(text, onchange, properties = {}) {
  const box = h("input", { type: "checkbox", onchange: () => onchange(box.checked), ...properties });
  return { box, label: h("label", {}, box, text) };
}

/** A menu of [value, text] pairs with its label. */
export function menu(text, options, onchange) {
  const items = options.map(([value, name]) => h("option", { value }, name));
  const select = h("select", { onchange: () => onchange(select.value) }, ...items);
  return { select, label: h("label", {}, text, select) };
}

/** Controls beside each other. */
export const tools = (...children) => h("div", { class: "tools" }, ...children);

/** A paragraph that is read by those who ask. */
export const quiet = (text = "") => h("p", { class: "quiet" }, text);

/** Which way the arrow keys lead: right and down. */
export const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** Whether a key is meant for the browser. */
export const isCommand = (event) => event.ctrlKey || event.altKey || event.metaKey;

/** A number in few digits, for people. */
export function short(value, digits = 3) {
  if (value === null || Number.isNaN(value)) return "–";
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e5 || size < 1e-3) return value.toExponential(digits - 1).replace("e+", "e").replaceAll("-", "−");
  return Number(value.toPrecision(digits)).toString().replace("-", "−");
}

/** A difference, with its sign. */
export const signed = (value, digits) => `${value < 0 ? "" : "+"}${short(value, digits)}`;

/** A count, with its thousands apart. */
export function counted(value) {
  return value.toLocaleString("en-US");
}

/** Say something to those who listen instead of looking. */
export function announce(text) {
  document.getElementById("announcer").textContent = text;
}

/** Hand a canvas to the user as a picture file. */
export function savePicture(canvas, name) {
  canvas.toBlob((blob) => {
    const link = h("a", { href: URL.createObjectURL(blob), download: `${name}.png` });
    link.click();
    URL.revokeObjectURL(link.href);
  });
}
