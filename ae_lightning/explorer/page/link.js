/** A button that copies a link to what is shown. */

import { announce, button, h } from "explorer/dom.js";

/**
 * The button, and a field for where a page may not write to the clipboard: there the address is shown, to be copied.
 * @param {function(): string} addressOf Gives the part of the address that begins with #.
 * @param {string} title What the address names.
 */
export function linkTools(addressOf, title) {
  const link = h("input", { readonly: true, hidden: true, "aria-label": "Address of this view" });
  const copy = button("copy link", async () => {
    const address = location.href.replace(/#.*/, "") + addressOf();
    try {
      await navigator.clipboard.writeText(address);
      copy.textContent = "copied";
      announce("The address of this view is copied.");
      setTimeout(() => (copy.textContent = "copy link"), 2000);
    } catch {
      link.hidden = false;
      link.value = address;
      link.select();
    }
  }, { title });
  return [copy, link];
}
