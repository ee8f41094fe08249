"""Which of many intervals a point lies in, mostly by one look into a table."""

from __future__ import annotations

import torch
from torch import Tensor

from ae_lightning.data.worlds.kept import places_of

# Cells of the table for each interval.
_CELLS = 16


class Guide:
    """Finds the interval of points on a line that is cut into intervals, laid end to end from 0.

    The line is cut into cells of equal length, of which most lie within one interval. Points in the others are
    searched for. Source: Chen and Asau (1974), "On generating random variates from an empirical distribution".

    Args:
        lengths: Of the intervals (intervals,) float64, above 0; at least one.
    """

    def __init__(self, lengths: Tensor) -> None:
        self._ends = lengths.cumsum(0)
        self.length = float(self._ends[-1])
        cells = _CELLS * len(lengths)
        self._cells_per_length = cells / self.length
        # A cell is taken a little wider than it is, so that no rounding leads to a neighbor.
        edges = torch.arange(cells + 1, dtype=torch.float64, device=lengths.device) / self._cells_per_length
        first = self._searched(edges[:-1] * (1 - 1e-12))
        last = self._searched(edges[1:] * (1 + 1e-12))
        self._within = torch.where(first == last, first, -1)

    def at(self, points: Tensor) -> Tensor:
        """The interval (points,) int64 of each of some points (points,) float64 on the line."""
        cell = (points * self._cells_per_length).long().clamp_(0, len(self._within) - 1)
        found = self._within.index_select(0, cell)
        open_ = places_of(found < 0)
        return found.index_copy_(0, open_, self._searched(points.index_select(0, open_)))

    def _searched(self, points: Tensor) -> Tensor:
        return torch.searchsorted(self._ends, points, right=True).clamp_(max=len(self._ends) - 1)
