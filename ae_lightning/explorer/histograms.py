"""How activations are spread, unit by unit."""

from __future__ import annotations

import torch
from torch import Tensor

BINS = 24


class Histograms:
    """How many activations of each unit that are not zero lie in each of 24 equal bins of the unit's own.

    The last bin holds its upper end, and the first one all where both ends are the same.

    Args:
        low: The smallest of each unit, float32 (units,); infinite for one that is always silent.
        high: The largest.
    """

    def __init__(self, low: Tensor, high: Tensor) -> None:
        silent = ~low.isfinite()
        #: Ends of the bins, 0 for a silent unit, float32 (units,).
        self.low, self.high = low.masked_fill(silent, 0), high.masked_fill(silent, 0)
        width = self.high.double() - self.low.double()
        self._factor = torch.where(width > 0, BINS / width.clamp(min=torch.finfo(torch.float64).tiny), 0)
        self._counts = torch.zeros(len(low) * BINS, dtype=torch.int64)

    def add(self, unit: Tensor, value: Tensor) -> None:
        """Count activations that are not zero.

        Args:
            unit: Number of each one's unit, int64 (n,).
            value: The activations, (n,).
        """
        above = value.double() - self.low.double()[unit]
        place = (above * self._factor[unit]).long().clamp(max=BINS - 1)
        self._counts += torch.bincount(unit * BINS + place, minlength=len(self._counts))

    @property
    def counts(self) -> Tensor:
        """int64 (units, 24)."""
        return self._counts.view(-1, BINS)
