"""A ratio of two sums over independent units, such as a loss per token over whole sequences, and its standard error."""

import math
from typing import NamedTuple

from torch import Tensor


class Ratio(NamedTuple):
    """A ratio, and its standard error, NaN where fewer than two units tell of it; both NaN of nothing to divide by."""

    value: float
    error: float


def ratio_of_sums(numerators: Tensor, denominators: Tensor) -> Ratio:
    """Σ numerators / Σ denominators, each pair being one independent unit, with the error of the ratio estimator.

    The ratio R is taken for linear in the two sums, so that what unit i adds to its error is uᵢ = aᵢ − R·bᵢ, and the
    standard error is √(n/(n − 1) · Σuᵢ²) / |Σbᵢ|: Cochran (1977), Sampling Techniques, section 6. With all
    denominators 1 it is the standard error of a mean. Tokens of one sequence are no independent evidence, which sums
    over sequences take into account.

    Args:
        numerators: (n,), of each unit.
        denominators: (n,), of the same units.

    Example:
        >>> import torch
        >>> ratio_of_sums(torch.tensor([1.0, 2.0, 6.0]), torch.ones(3))
        Ratio(value=3.0, error=1.527525231651947)
    """
    a, b = numerators.double(), denominators.double()
    below = float(b.sum())
    if below == 0:
        return Ratio(math.nan, math.nan)
    value, count = float(a.sum()) / below, len(a)
    if count < 2:
        return Ratio(value, math.nan)
    spread = float((a - value * b).square().sum())
    return Ratio(value, math.sqrt(count / (count - 1) * spread) / abs(below))
