"""One pass through a set, in pieces: what its numbers are, and which of them are none."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from ae_lightning.data.in_memory import InMemoryDataset
from ae_lightning.errors import DataError

# Numbers looked at together in a pass through the data: 16 MB of float32.
CHUNK = 1 << 22

# A spread that is smaller, beside the mean, is rounding in float64.
_ROUNDING = 1e-12


class Statistics(NamedTuple):
    """What a pass through a set finds of its numbers as they are stored, in float64.

    Args:
        minimum: Over all numbers.
        maximum: Over all numbers.
        mean: Over all numbers.
        std: Standard deviation over all numbers.
        entry_means: Mean of each entry of a sample over the samples, (entries,).
        spread: Standard deviation about these means, over all numbers: what samples differ by.
    """

    minimum: float
    maximum: float
    mean: float
    std: float
    entry_means: Tensor
    spread: float

    def furthest(self, center: float) -> float:
        """Distance of an entry's mean from the center, in spreads, where that is largest; 0 for samples all alike."""
        if self.spread <= _ROUNDING * float(self.entry_means.abs().max()):
            return 0.0
        return float((self.entry_means - center).abs().max()) / self.spread


def scan(dataset: InMemoryDataset, path: str) -> Statistics:
    """Go through a set once, in pieces, so that a file larger than the memory will do.

    The mean and the squares about it are merged from piece to piece, so that no digits are lost to a large mean.

    Source: Chan, Golub and LeVeque (1983), "Algorithms for Computing the Sample Variance".

    Args:
        dataset: The set; how it is normalized does not matter.
        path: Its file, for the error message.

    Raises:
        DataError: If a value is NaN or infinite.
    """
    low, high, count = math.inf, -math.inf, 0
    means = squares = torch.zeros(1, dtype=torch.float64)
    for _, values in _pieces(dataset):
        least, most = (float(bound) for bound in values.aminmax())  # NaN if there is one
        if not (math.isfinite(least) and math.isfinite(most)):
            bad, first = find(dataset, lambda values: ~torch.isfinite(values))
            raise DataError(
                f"{path} holds {bad:,} NaN or infinite values, the first in row {first:,} (counted from 0); "
                "remove or replace them."
            )
        low, high = min(low, least), max(high, most)
        new, total = len(values), count + len(values)
        own = values.mean(dim=0)
        step = own - means
        squares = squares + values.sub_(own).square_().sum(dim=0) + step.square() * (count * new / total)
        means = means + step * (new / total)
        count = total
    mean = float(means.mean())
    within = float(squares.mean()) / count
    std = math.sqrt(within + float((means - mean).square().mean()))
    return Statistics(low, high, mean, std, means, math.sqrt(within))


def find(dataset: InMemoryDataset, is_bad: Callable[[Tensor], Tensor]) -> tuple[int, int]:
    """Count the stored values of a set for which something holds, and find the first row of its file that has one.

    Args:
        dataset: The set.
        is_bad: Tells for values (rows, entries) which are meant.
    """
    count, first = 0, -1
    for rows, values in _pieces(dataset):
        bad = is_bad(values)
        if count == 0 and bool(bad.any()):
            row = rows[bad.any(dim=1)][0]
            first = int(row if dataset.indices is None else dataset.indices[row])
        count += int(bad.sum())
    return count, first


def _pieces(dataset: InMemoryDataset) -> Iterator[tuple[Tensor, Tensor]]:
    """Rows of the set, in order, and their values as they are stored, float64 (rows, entries), which may be changed."""
    width = max(1, math.prod(dataset.sample_shape))
    for rows in torch.arange(len(dataset)).split(max(1, CHUNK // width)):
        yield rows, dataset.raw(rows)[0].to(torch.float64).reshape(len(rows), width)
