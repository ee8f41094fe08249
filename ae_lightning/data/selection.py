"""Some rows of many, a bit for each: a hundred million take 25 MB."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

# Rows are counted by groups of so many.
GROUP = 64
_ONES = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1).sum(axis=1, dtype=np.int64)


class Selection:
    """Which rows of a set belong to a part of it.

    Args:
        pieces: Whether each row belongs to the part, bool, in pieces one after another; all but the last hold a
            multiple of 8 rows.
    """

    def __init__(self, pieces: Iterable[np.ndarray]) -> None:
        packed = np.concatenate([np.packbits(piece) for piece in pieces])
        self._bits = np.pad(packed, (0, -len(packed) % (GROUP // 8))).reshape(-1, GROUP // 8)
        self._before = np.concatenate(([0], _ONES[self._bits].sum(axis=1).cumsum()))

    def __len__(self) -> int:
        return int(self._before[-1])

    def rows(self, numbers: np.ndarray) -> np.ndarray:
        """The rows that are the so-and-so-manieth of the part, counted from 0, (n,) int64 both."""
        groups = np.searchsorted(self._before, numbers, side="right") - 1
        within = numbers - self._before[groups]
        counted = np.unpackbits(self._bits[groups], axis=1).cumsum(axis=1, dtype=np.int64)
        return groups * GROUP + (counted > within[:, None]).argmax(axis=1)

    def all_rows(self) -> np.ndarray:
        """All rows of the part, in ascending order, (len(self),) int64."""
        return np.flatnonzero(np.unpackbits(self._bits.reshape(-1)))

    def within(self, start: int, stop: int) -> np.ndarray:
        """The rows of the part from ``start``, a multiple of 64, to ``stop``, counted from ``start``, int64."""
        bits = self._bits[start // GROUP : -(-stop // GROUP)]
        return np.flatnonzero(np.unpackbits(bits.reshape(-1), count=stop - start))

    def counts(self, block: int) -> np.ndarray:
        """Rows of the part in each block of so many rows, a multiple of 64, (blocks,) int64."""
        return np.diff(self.before_blocks(block))

    def before_blocks(self, block: int) -> np.ndarray:
        """Rows of the part before each block of so many rows, a multiple of 64, and in all, (blocks + 1,) int64."""
        edges = np.arange(0, len(self._before) - 1, block // GROUP)
        return np.append(self._before[edges], self._before[-1])
