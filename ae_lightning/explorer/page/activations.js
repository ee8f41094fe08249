/**
 * Activation functions of each sum alone by the names that the package gives them, each with its slope.
 *
 * `apply(x, threshold)` is the function, `slope(x, y, threshold)` its derivative at x, where y = apply(x).
 */

import { codes } from "explorer/codes.js";

const relu = { apply: (x) => (x > 0 ? x : 0), slope: (x) => (x > 0 ? 1 : 0) };

export const activations = {
  none: { apply: (x) => x, slope: () => 1 },
  relu,
  leaky_relu: { apply: (x) => (x > 0 ? x : 0.01 * x), slope: (x) => (x > 0 ? 1 : 0.01) },
  elu: { apply: (x) => (x > 0 ? x : Math.expm1(x)), slope: (x, y) => (x > 0 ? 1 : y + 1) },
  gelu: {
    apply: (x) => x * normalCdf(x),
    slope: (x) => normalCdf(x) + (x * Math.exp((-x * x) / 2)) / Math.sqrt(2 * Math.PI),
  },
  tanh: { apply: Math.tanh, slope: (x, y) => 1 - y * y },
  sigmoid: { apply: (x) => 1 / (1 + Math.exp(-x)), slope: (x, y) => y * (1 - y) },
  soft_threshold: {
    apply: (x, t) => (Math.abs(x) > t ? x - Math.sign(x) * t : 0),
    slope: (x, y, t) => (Math.abs(x) > t ? 1 : 0),
  },
  hard_threshold: { apply: (x, t) => (Math.abs(x) > t ? x : 0), slope: (x, y, t) => (Math.abs(x) > t ? 1 : 0) },
};

/** What a layer makes of its sums. */
export function activated({ activation, threshold, parameters }, sums) {
  if (activation in codes) return codes[activation].apply(sums, parameters);
  const { apply } = activations[activation];
  return sums.map((sum) => apply(sum, threshold));
}

/** d activation / d sum of each unit of a layer. */
export function slopesOf({ activation, threshold, parameters }, sums) {
  if (activation in codes) {
    const { apply, slope } = codes[activation];
    return apply(sums, parameters).map((value, unit) => (value === 0 ? 0 : slope(unit, parameters)));
  }
  const { apply, slope } = activations[activation];
  return sums.map((sum) => slope(sum, apply(sum, threshold), threshold));
}

/** Φ(x), the normal distribution function, within 1e-7: Abramowitz and Stegun (1964), formula 7.1.26. */
function normalCdf(x) {
  const z = Math.abs(x) / Math.SQRT2;
  const t = 1 / (1 + 0.3275911 * z);
  const series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))));
  const tail = 0.5 * series * Math.exp(-z * z);
  return x > 0 ? 1 - tail : tail;
}
