/** With which of its units a layer is opened: one that has something to show. */

const rarest = 0.01;

/**
 * Of the units that fire on at least 1 % of the test samples, and if there are any on the first one, the one with the
 * largest importance at the checkpoint, on images times how structured the image is that it writes.
 * @param {import("./session.js").Session} session
 * @param {import("./network.js").Network} network That of the checkpoint.
 * @param {number} layer Number of the hidden layer.
 */
export function openingUnit(session, network, layer) {
  const result = network.forward(session.sample(0));
  const { density } = session.units[layer];
  const all = Array.from(density, (_, unit) => unit);
  const often = all.filter((unit) => density[unit] >= rarest);
  const firing = often.filter((unit) => result.hidden[layer][unit] !== 0);
  const candidates = [firing, often, all].find((some) => some.length > 0);
  const importance = session.importances[session.manifest.final][layer];
  const structures = structuresOf(session, network, result, layer);
  const worth = (unit) => importance[unit] * structures[unit];
  return candidates.reduce((best, unit) => (worth(unit) > worth(best) ? unit : best));
}

function structuresOf(session, network, result, layer) {
  const { units } = session.hiddenLayers[layer];
  if (!session.input.is_image) return new Float32Array(units).fill(1);
  const rows = network.writeRows(result, layer);
  const { pixels } = session;
  return Float32Array.from({ length: units }, (_, unit) =>
    structure(rows.subarray(unit * pixels, (unit + 1) * pixels), session.input, session.lit));
}

/**
 * How alike neighboring pixels are, over those that training samples light: Moran's I, near 1 for strokes and spots,
 * about 0 for noise, and 0 for what is the same everywhere.
 */
export function structure(row, { planes, width, height }, lit) {
  let [products, pairs, squares, pixels] = [0, 0, 0, 0];
  for (let plane = 0; plane < planes; plane++) {
    const [first, end] = [plane, plane + 1].map((place) => place * width * height);
    const own = Array.from({ length: end - first }, (_, i) => first + i).filter((i) => lit[i] !== 0);
    const mean = own.reduce((sum, i) => sum + row[i], 0) / own.length;
    pixels += own.length;
    for (const i of own) {
      squares += (row[i] - mean) ** 2;
      const right = (i - first) % width < width - 1 ? i + 1 : end;
      for (const next of [right, i + width]) {
        if (next >= end || lit[next] === 0) continue;
        products += (row[i] - mean) * (row[next] - mean);
        pairs += 1;
      }
    }
  }
  return squares > 0 && pairs > 0 ? (pixels / pairs) * (products / squares) : 0;
}
