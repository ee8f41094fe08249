/** Opens the file, and puts the views on the page. */

import { addressOf, linkTo, show, told } from "explorer/address.js";
import { DamagedBlock } from "explorer/blocks.js";
import { Dictionary } from "explorer/dictionary.js";
import { button, counted, h } from "explorer/dom.js";
import { followAddress } from "explorer/following.js";
import { mountKeyboard, showKeyboard } from "explorer/keyboard.js";
import { mountList } from "explorer/list.js";
import { linkTools } from "explorer/link.js";
import { mountNear } from "explorer/near.js";
import { mountNumbers } from "explorer/numbers.js";
import { mountSamples } from "explorer/samples.js";
import { Store } from "explorer/state.js";

const views = { list: mountList, samples: mountSamples, numbers: mountNumbers, near: mountNear };

const element = (id) => document.getElementById(id);

async function open() {
  const dictionary = await Dictionary.open(document);
  const store = new Store(dictionary);
  const { variant, data, latents } = dictionary.manifest;
  element("subtitle").textContent = `${variant} · ${counted(latents)} latents · ${data}`;
  element("main").hidden = false;
  for (const [id, mount] of Object.entries(views)) mount(store, element(id));
  element("tools").append(
    ...linkTools(() => linkTo(store), "The address of this view: latent, order, search"),
    button("?", showKeyboard, { title: "List of keys", class: "icon" }));
  mountKeyboard(store);
  store.on("problem", () => report(store.problem));
  addSectionLinks();
  performance.mark("first view");
  await followAddress(store, told, addressOf, show);
  // For the browser's console and for tests: everything the page can do, it can do from there.
  globalThis.explorer = store;
}

function report(problem) {
  element("problem").hidden = problem === null;
  element("problem").textContent = problem ?? "";
}

function addSectionLinks() {
  for (const id of Object.keys(views)) {
    const goTo = () => element(id).scrollIntoView();
    if (!element(id).hidden) {
      element("sections").append(h("button", { type: "button", onclick: goTo }, element(`${id}-title`).textContent));
    }
  }
  element("skip").addEventListener("click", () => element("samples").focus());
}

try {
  await open();
} catch (error) {
  report(`This file cannot be shown. ${error.message}`);
  if (!(error instanceof DamagedBlock)) throw error;
} finally {
  element("loading").remove();
}
