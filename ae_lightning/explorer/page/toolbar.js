/** What concerns the page as a whole: a link to what is shown, a picture of it, and the list of keys. */

import { addressOf } from "explorer/address.js";
import { announce, button, h, savePicture, short } from "explorer/dom.js";
import { showKeys } from "explorer/keyboard.js";
import { labelledPicture } from "explorer/pictures.js";

/** Put the buttons into the header. */
export function mountToolbar(store, element) {
  // Where a page may not write to the clipboard the address is shown, to be copied by hand.
  const link = h("input", { readonly: true, hidden: true, "aria-label": "Address of this view" });
  element.append(
    button("copy link", (event) => copyLink(store, event.target, link),
      { title: "The address of this view: unit, sample, snapshot, surgery" }),
    link,
    button("save picture", () => saveReconstruction(store),
      { title: "Input, reconstruction and difference as a picture file" }),
    button("?", showKeys, { title: "List of keys", class: "icon" }));
}

async function copyLink(store, copy, link) {
  const address = location.href.replace(/#.*/, "") + addressOf(store);
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
}

/** The three pictures of the studio as one file. */
function saveReconstruction({ session: { manifest }, sample, edited, surgery, snapshot, error }) {
  const name = sample === null ? "own image" : `sample ${sample}${edited ? " changed" : ""}`;
  const operated = surgery.length === 0 ? "" : ` · units changed: ${surgery.length}`;
  const { step } = manifest.snapshots[snapshot];
  const title = `${manifest.title} · step ${step} · ${name}${operated} · error ${short(error)}`;
  const figures = [...document.querySelectorAll("#studio figure")];
  const pictures = figures.map((figure) => ({ canvas: figure.querySelector("canvas"), text: figure.innerText.trim() }));
  savePicture(labelledPicture(title, pictures), `reconstruction ${name}`.replaceAll(" ", "_"));
}
