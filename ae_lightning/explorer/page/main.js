/** Opens the file, and puts the views on the page. */

import { addressOf, show, told } from "explorer/address.js";
import { mountAtlas } from "explorer/atlas.js";
import { DamagedBlock } from "explorer/blocks.js";
import { h } from "explorer/dom.js";
import { followAddress } from "explorer/following.js";
import { mountKeyboard } from "explorer/keyboard.js";
import { mountMap } from "explorer/latent_map.js";
import { mountPixels } from "explorer/pixels.js";
import { Session } from "explorer/session.js";
import { Store } from "explorer/store.js";
import { mountStudio } from "explorer/studio.js";
import { mountSurgery } from "explorer/surgery.js";
import { mountToolbar } from "explorer/toolbar.js";
import { mountTraining } from "explorer/training.js";
import { mountUnitPanel } from "explorer/unit_panel.js";

const views = {
  studio: mountStudio, atlas: mountAtlas, panel: mountUnitPanel, pixels: mountPixels, surgery: mountSurgery,
  training: mountTraining, map: mountMap,
};

const element = (id) => document.getElementById(id);

async function open() {
  const session = await Session.open(document);
  const store = new Store(session, await session.network(session.manifest.final));
  const { variant, data } = session.manifest;
  element("subtitle").textContent = `${variant} · ${data}`;
  element("main").hidden = false;
  for (const [id, mount] of Object.entries(views)) mount(store, element(id));
  mountToolbar(store, element("tools"));
  mountKeyboard(store);
  store.on("problem", () => report(store.problem));
  addSectionLinks();
  performance.mark("first view");
  await followAddress(store, told, addressOf, show);
  store.set({ past: [] }); // nothing has been done yet
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
    const { dataset, textContent } = element(`${id}-title`);
    element("sections").append(h("button", { type: "button", onclick: goTo }, dataset.short ?? textContent));
  }
  element("skip").addEventListener("click", () => element("atlas").focus());
}

try {
  await open();
} catch (error) {
  report(`This file cannot be shown. ${error.message}`);
  if (!(error instanceof DamagedBlock)) throw error;
} finally {
  element("loading").remove();
}
