/** The latents whose directions are nearest to that of the shown one. */

import { h, quiet, short } from "explorer/dom.js";
import { glimpse } from "explorer/words.js";

/** Put the view on the page. */
export function mountNear(store, element) {
  const { dictionary } = store;
  if (!dictionary.arrays.near) {
    element.hidden = true;
    return;
  }
  const list = h("div", { class: "near-list" });
  element.append(quiet("By the cosine of what they write."), list);
  store.on("latent", () => {
    const cosines = dictionary.row("cosine", store.latent);
    const rows = Array.from(dictionary.row("near", store.latent), (latent, i) =>
      h("button", { type: "button", class: "near-line", onclick: () => store.select(latent) },
        h("span", { class: "list-number number" }, `#${latent}`), glimpse(dictionary, latent),
        h("span", { class: "number" }, short(cosines[i], 2))));
    list.replaceChildren(...rows);
  });
}
