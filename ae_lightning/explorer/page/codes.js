/**
 * Activations of a code that select: which units fire may depend on other units, or on numbers of their own.
 *
 * Sums and numbers are float32, and each result is rounded to float32 as PyTorch rounds it. `apply(sums, parameters)`
 * gives the activations, `limit(sums, unit, parameters)` what a unit's sum has to exceed so that it fires, with all
 * others as they are, and `slope(unit, parameters)` its derivative where it fires; elsewhere it is 0.
 */

export const codes = {
  topk: {
    apply: (sums, { k, groups }) => (groups ? largestOfGroups(sums, k) : largest(sums, k)),
    limit: (sums, unit, { k, groups }) => {
      const width = groups ? sums.length / k : sums.length;
      const start = Math.floor(unit / width) * width;
      const others = sums.slice(start, start + width);
      others[unit - start] = 0;
      return kthLargest(others, groups ? 1 : k);
    },
    slope: () => 1,
  },
  threshold: {
    apply: (sums, { threshold }) => sums.map((sum, unit) => (sum > threshold[unit] && sum > 0 ? sum : 0)),
    limit: (_, unit, { threshold }) => Math.max(threshold[unit], 0),
    slope: () => 1,
  },
  gated: {
    apply: (sums, { gate_bias: gates, factor: factors, magnitude_bias: biases }) => sums.map((sum, unit) =>
      (sum + gates[unit] > 0 ? Math.max(Math.fround(sum * factors[unit]) + biases[unit], 0) : 0)),
    limit: (_, unit, { gate_bias: gates, factor: factors, magnitude_bias: biases }) =>
      Math.max(-gates[unit], -biases[unit] / factors[unit]),
    slope: (unit, { factor }) => factor[unit],
  },
};

/** The k largest sums where they are above zero; of equal ones those of the units with smaller numbers. */
function largest(sums, k) {
  const least = kthLargest(sums, k);
  let room = k - sums.reduce((count, sum) => count + (sum > least), 0);
  return sums.map((sum) => (sum > least || (sum === least && room-- > 0) ? sum : 0));
}

/** The largest sum of each of k groups of units beside each other, where it is above zero. */
function largestOfGroups(sums, k) {
  const values = new Float32Array(sums.length);
  const width = sums.length / k;
  for (let start = 0; start < sums.length; start += width) {
    let best = start;
    for (let unit = start; unit < start + width; unit++) if (sums[unit] > sums[best]) best = unit;
    values[best] = Math.max(sums[best], 0);
  }
  return values;
}

/** The k-th largest sum, or 0 if it is not above zero. */
function kthLargest(sums, k) {
  return sums.filter((sum) => sum > 0).sort().at(-k) ?? 0;
}
