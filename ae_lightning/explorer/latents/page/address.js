/** Deep links: the address names what is shown, as `#latent=37&search=dead`; `#37` alone is that latent, too. */

import { orders, parseQuery } from "explorer/query.js";

/** Characters of an address that are repeated on the page. */
const longest = 20;

/** What an address tells of. */
export const told = "latent order query";

/** The address of what is shown, or of another latent in the same list. */
export function linkTo({ order, query }, latent) {
  const parts = { latent, order: order === "index" ? null : order, search: query || null };
  const named = Object.entries(parts).filter(([, value]) => value !== null && value !== undefined);
  return named.length === 0 ? "" : `#${new URLSearchParams(named)}`;
}

/** The address of what is shown, without what the page opens with. */
export const addressOf = (store) => linkTo(store, store.latent === store.opening ? null : store.latent);

/** Show what an address names; a latent that there is not is told, and what else makes no sense left out. */
export function show(store, hash) {
  const named = new URLSearchParams(hash.slice(1));
  const search = named.get("search") ?? "";
  const order = named.get("order");
  store.set({
    order: orders.some(([name]) => name === order) ? order : "index",
    query: parseQuery(search, store.dictionary).problem === null ? search : "",
  });
  const asked = named.get("latent") ?? [...named.keys()].find((name) => /^[-+]?[\d.]+$/.test(name)) ?? null;
  const { latents } = store.dictionary;
  const latent = /^\d+$/.test(asked ?? "") ? Number(asked) : NaN;
  if (latent < latents) store.select(latent);
  else store.set({ latent: store.opening });
  if (asked === null || latent < latents) return;
  store.set({
    problem: `The address asks for latent “${asked.slice(0, longest)}”, but they go from 0 to ${latents - 1}.`,
  });
}
