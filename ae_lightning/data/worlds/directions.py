"""Directions of features: unit vectors, as far apart as asked."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def largest_overlaps(directions: Tensor, chunk: int = 1024, told: Callable[[], None] | None = None) -> Tensor:
    """The largest |cos| (features,) of each unit row with another one.

    Args:
        directions: Unit rows (features, dim).
        chunk: Rows that are compared with all at once.
        told: Called after each chunk.
    """
    found = []
    for start in range(0, len(directions), chunk):
        cosines = (directions[start : start + chunk] @ directions.mT).abs_()
        cosines.diagonal(start).zero_()
        found.append(cosines.amax(1))
        if told is not None:
            told()
    return torch.cat(found)
