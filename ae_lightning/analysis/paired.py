"""Which differences are more than noise: means over seeds, their intervals, and differences paired by seed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np

LEVEL = 0.05
"""Chance at which noise alone is taken for a difference, and that an interval misses the mean."""


class Interval(NamedTuple):
    """A mean over seeds, and how far it may be off."""

    mean: float
    half: float  #: half the width of the interval that holds the mean with 95 %; NaN of a single number
    seeds: int  #: how many


class Difference(NamedTuple):
    """Two settings compared, seed by seed."""

    one: str
    other: str
    mean: float  #: of one less other
    p: float  #: of noise alone making so large a difference, in a paired t-test; NaN of less than two seeds
    corrected: float  #: after Holm, for the number of differences looked at
    seeds: int  #: how many

    @property
    def is_outside_noise(self) -> bool:
        """Whether it is more than noise; False where it is not known."""
        return self.corrected < LEVEL


def interval(values: Sequence[float]) -> Interval:
    """The mean and its 95 % interval by Student's t: s / √n times the quantile of n − 1 degrees of freedom.

    Args:
        values: One for each seed, of which those that are not finite are left out.

    Example:
        >>> interval([1.0, 2.0, 3.0]).mean, round(interval([1.0, 2.0, 3.0]).half, 3)
        (2.0, 2.484)
    """
    array = np.asarray([value for value in values if math.isfinite(value)], dtype=np.float64)
    if array.size < 2:
        return Interval(float(array[0]) if array.size else math.nan, math.nan, array.size)
    from scipy.stats import t  # slow to import

    error = float(array.std(ddof=1)) / math.sqrt(array.size)
    return Interval(float(array.mean()), error * float(t.ppf(1 - LEVEL / 2, array.size - 1)), array.size)


def paired_p(differences: Sequence[float]) -> float:
    """P of the two-sided paired t-test, from the differences of each pair; NaN of less than two.

    Differences that are all alike have no noise: p is 0, or 1 where they are 0.
    """
    array = np.asarray(differences, dtype=np.float64)
    if array.size < 2:
        return math.nan
    mean, error = float(array.mean()), float(array.std(ddof=1)) / math.sqrt(array.size)
    if error <= abs(mean) * np.finfo(np.float64).eps * 8:
        return 0.0 if mean else 1.0
    from scipy.stats import t  # slow to import

    return float(2 * t.sf(abs(mean) / error, array.size - 1))


def holm(ps: Sequence[float]) -> list[float]:
    """p-values corrected for their number, so that with 5 % at most one of all is below 5 % by noise alone.

    The smallest is multiplied by their number, the next by one less, and so on; none may be below one before it, nor
    above 1. NaN stays, and does not count.

    Source: Holm (1979), "A simple sequentially rejective multiple test procedure".

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]
    """
    known = sorted((i for i, p in enumerate(ps) if not math.isnan(p)), key=lambda i: ps[i])
    corrected, largest = [math.nan] * len(ps), 0.0
    for rank, place in enumerate(known):
        largest = max(largest, min(1.0, (len(known) - rank) * ps[place]))
        corrected[place] = largest
    return corrected


def differences(families: Sequence[Mapping[str, Mapping[int, float]]]) -> list[list[Difference]]:
    """Compare all pairs of names, by the seeds that both have, corrected for the number of all pairs together.

    Args:
        families: What is compared with each other, such as models at one L0: by name the value of each seed. Values
            that are not finite are left out.

    Returns:
        The differences of each family; the one with the higher mean comes first.
    """
    found = [[_compared(*pair) for pair in combinations(family.items(), 2)] for family in families]
    corrected = iter(holm([difference.p for family in found for difference in family]))
    return [[difference._replace(corrected=next(corrected)) for difference in family] for family in found]


def _compared(one: tuple[str, Mapping[int, float]], other: tuple[str, Mapping[int, float]]) -> Difference:
    (name, values), (other_name, others) = one, other
    both = [values[seed] - others[seed] for seed in sorted(values.keys() & others.keys())]
    both = [difference for difference in both if math.isfinite(difference)]
    mean = math.fsum(both) / len(both) if both else math.nan
    if mean < 0:
        name, other_name, mean = other_name, name, -mean
    return Difference(name, other_name, mean, paired_p(both), math.nan, len(both))
