"""Which rows of a store are for training, validation and testing: all rows of a sample go together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from ae_lightning.data.loader import seeded_generator
from ae_lightning.data.selection import Selection
from ae_lightning.data.store import StoredArray, StoreIndex
from ae_lightning.errors import DataError

# Rows whose samples are read in one go.
_AT_ONCE = 1 << 20


def parts_of_samples(samples: int, fractions: Sequence[float], seed: int) -> np.ndarray:
    """Draw parts of a set of samples, (samples,) uint8: 0 for what is in none, else the number of the part from 1.

    A part's samples do not depend on the parts after it.

    Args:
        samples: How many there are.
        fractions: How much of them each part takes, rounded to the nearest whole number.
        seed: Seed of the draw.
    """
    parts = np.zeros(samples, dtype=np.uint8)
    order = torch.randperm(samples, generator=seeded_generator(seed)).numpy()
    start = 0
    for number, fraction in enumerate(fractions, start=1):
        end = start + round(samples * fraction)
        parts[order[start:end]] = number
        start = end
    return parts


def rows_of_parts(index: StoreIndex, parts: np.ndarray, count: int) -> list[Selection]:
    """The rows of the samples of each part, from 0 to ``count`` - 1.

    Args:
        index: The store's index.
        parts: The part of each sample, (samples,).
        count: How many parts there are.

    Raises:
        DataError: Rows are of samples that the store does not have, or its files cannot be read.
    """
    if "sample" not in index.extras:
        raise DataError(f"{index.folder} does not tell which rows are of one sample; harvest it again with extras.")
    pieces = list(_by_row(index, parts))
    return [Selection(piece == number for piece in pieces) for number in range(count)]


def _by_row(index: StoreIndex, parts: np.ndarray) -> Iterator[np.ndarray]:
    """The part of each row, in pieces."""
    owners = StoredArray(index, "sample")
    for start in range(0, index.rows, _AT_ONCE):
        samples = owners.read(start, min(start + _AT_ONCE, index.rows)).numpy()
        if not (samples.min() >= 0 and samples.max() < len(parts)):
            raise DataError(
                f"{index.folder} holds rows of samples {samples.min():,} to {samples.max():,}, and its index tells of "
                f"{len(parts):,} samples; harvest it again."
            )
        yield parts[samples]
