"""What of a vector is kept, by ways that take less time than indexing with a mask."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def places_of(kept: Tensor) -> Tensor:
    """Where a mask (n,) is true, (kept,) int64 in rising order."""
    if kept.device.type == "cpu":  # NumPy finds them in a third of the time
        return torch.from_numpy(np.flatnonzero(kept.numpy()))
    return kept.nonzero().flatten()


def select(kept: Tensor, *vectors: Tensor) -> tuple[Tensor, ...]:
    """Entries of vectors (n,) for which a mask (n,) is true."""
    if bool(kept.all()):
        return vectors
    places = places_of(kept)
    return tuple(vector.index_select(0, places) for vector in vectors)


def first_of(places: Tensor) -> Tensor:
    """Which of rising places differ from the one before."""
    first = torch.ones_like(places, dtype=torch.bool)
    torch.ne(places[1:], places[:-1], out=first[1:])
    return first
