/** Keeps the address of the page and what is shown in step. */

const delay = 250;

/**
 * Show what the address names, now and when it changes, and write it anew when what is shown changes.
 *
 * @param store - tells of changes.
 * @param names - those that the address tells of, as `store.on` takes them.
 * @param addressOf - gives the address of what is shown, empty for that of the start.
 * @param show - shows what an address names, maybe later.
 * @returns a promise of the first address being shown.
 */
export function followAddress(store, names, addressOf, show) {
  let known = location.hash;
  let timer = null;
  let shown = Promise.resolve();
  const write = () => {
    // Somebody has just changed the address, and the browser has not told yet: it is not to be lost.
    if (location.hash !== known) return;
    history.replaceState(null, "", addressOf(store) || location.pathname + location.search);
    known = location.hash;
  };
  const follow = () => {
    known = location.hash;
    clearTimeout(timer); // what was to be written is no longer shown
    // One after the other, as a snapshot takes its time: the last address wins.
    shown = shown.then(() => show(store, known));
    return shown;
  };
  const first = follow();
  store.on(names, () => {
    clearTimeout(timer);
    timer = setTimeout(write, delay); // browsers limit how often an address may be written
  });
  addEventListener("hashchange", () => {
    if (location.hash !== known) follow();
  });
  return first;
}
