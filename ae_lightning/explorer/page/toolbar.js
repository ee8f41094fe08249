/** What concerns the page as a whole: a link to what is shown, a picture of it, and the list of keys. */

import { addressOf } from "explorer/address.js";
import { button, savePicture, short } from "explorer/dom.js";
import { showKeyboard } from "explorer/keyboard.js";
import { linkTools } from "explorer/link.js";
import { labelledPicture } from "explorer/pictures.js";

/** Put the buttons into the header. */
export function mountToolbar(store, element) {
  element.append(
    ...linkTools(() => addressOf(store), "The address of this view: unit, sample, snapshot, surgery"),
    button("save picture", () => saveReconstruction(store),
      { title: "Input, reconstruction and difference as a picture file" }),
    button("?", showKeyboard, { title: "List of keys", class: "icon" }));
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
