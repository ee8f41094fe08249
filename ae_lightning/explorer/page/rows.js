/** What the units of the shown layer read and write, as rows over pixels; gradients are kept while they hold. */

const kept = {};

/** Whether these rows are weights; if not they are gradients, which change with the input. */
export function isDirect({ network, layer }, side) {
  return side === "reads" ? network.readsDirectly(layer) : network.writesDirectly(layer);
}

/** @returns {Float32Array} (units, pixels), flat. */
export function rowsOf(store, side) {
  const { network, layer, result } = store;
  const known = kept[side];
  if (known?.result === result && known.layer === layer) return known.rows;
  const rows = side === "reads" ? network.readRows(result, layer) : network.writeRows(result, layer);
  kept[side] = { layer, result, rows };
  return rows;
}

/** The row of one unit. */
export function rowOf(store, side, unit) {
  const { pixels } = store.network;
  return rowsOf(store, side).subarray(unit * pixels, (unit + 1) * pixels);
}

/** A function that does some work once, when nothing has asked for it any more for a while. */
export function whenIdle(work, delay = 200) {
  let timer = null;
  return () => {
    clearTimeout(timer);
    timer = setTimeout(work, delay);
  };
}
