"""An order for more rows than fit into memory: blocks of rows are shuffled, and rows within windows of blocks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch

from ae_lightning.data.loader import seeded_generator
from ae_lightning.data.selection import GROUP

# What is read in one go: less costs a disk more than its rows do.
_BLOCK_BYTES = 2**20
# Rows that are shuffled together by default take at most this.
_WINDOW_BYTES = 2**28
# A window mixes rows from so many places at least, unless it is too small for that.
_BLOCKS = 64


def default_window(row_bytes: int, at_most: int = _WINDOW_BYTES) -> int:
    """Rows that are shuffled together by default: the power of two that takes between 128 and 256 MiB.

    Args:
        row_bytes: Bytes of a row, over all that is read of it.
        at_most: Another number of bytes than these 256 MiB.
    """
    return max(GROUP, _power_of_two(at_most // row_bytes))


def block_rows(window: int, row_bytes: int) -> int:
    """Rows of a block: a mebibyte of them, or fewer where a window would not hold 64 such blocks; a power of two.

    Args:
        window: Rows that are shuffled together.
        row_bytes: Bytes of a row, over all that is read of it.
    """
    return max(GROUP, _power_of_two(min(2 * _BLOCK_BYTES // row_bytes, window // _BLOCKS)))


class WindowOrder:
    """The order in which the rows of a set are seen in an epoch: a pure function of (seed, epoch).

    Blocks of consecutive rows are drawn without replacement. As many of them as make a window are read, and their
    rows permuted. So a row comes at any place of the epoch with nearly equal probability, while only a window must be
    in memory; all rows of one window are a random permutation. Of a row's L − 1 neighbors from the same sequence, if it
    lies within a block, as many come in a batch as if the set had M rows, those of the window: each pair of a batch is
    from one sequence with probability (L − 1)/(M − 1). Where all rows fit into one window, the order is a uniform
    permutation.

    Args:
        counts: Rows of each block, (blocks,) int64; a block from which rows were left out has fewer than the others.
        blocks: How many blocks make a window; the last window may have fewer.
        seed: Non-negative.
        epoch: Non-negative.
    """

    def __init__(self, counts: np.ndarray, blocks: int, *, seed: int, epoch: int) -> None:
        self._seeds = (seed, epoch)
        drawn = torch.randperm(len(counts), generator=seeded_generator(*self._seeds)).numpy()
        # Within a window they are read as they lie, since the rows are permuted anyway.
        self._blocks = [np.sort(drawn[first : first + blocks]) for first in range(0, len(drawn), blocks)]
        sizes = [int(counts[window].sum()) for window in self._blocks]
        #: First place of each window in the order, and the number of rows at the end, (windows + 1,) int64.
        self.starts = np.cumsum([0, *sizes], dtype=np.int64)

    def __len__(self) -> int:
        return len(self._blocks)

    def blocks(self, window: int) -> np.ndarray:
        """The blocks of a window, in ascending order, int64."""
        return self._blocks[window]

    def places(self, window: int) -> np.ndarray:
        """Where rows of a window, one block after another, come within the window: a permutation (rows,) int64."""
        rows = int(self.starts[window + 1] - self.starts[window])
        return torch.randperm(rows, generator=seeded_generator(*self._seeds, 1 + window)).numpy()

    def spans(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        """The windows that hold the places from ``start`` to ``stop`` of the order, each with its part: from, to."""
        window = int(np.searchsorted(self.starts, start, side="right")) - 1
        while start < stop:
            first, end = int(self.starts[window]), min(stop, int(self.starts[window + 1]))
            if end > start:
                yield window, start - first, end - first
            start, window = max(start, end), window + 1


class Share(NamedTuple):
    """The rows of an epoch that one of several processes gets: its part of each global batch.

    The global batches are the same for any number of processes: the rows of the order, one batch after another. Of a
    batch of n rows for W processes, process r gets those from r·n/W to (r + 1)·n/W. Of the last batch, if it is
    smaller, up to W − 1 rows are left out, so that all get equally many.

    Args:
        rows: Rows of the epoch.
        batch_size: Rows a batch, per process.
        rank: This process.
        world_size: Number of processes.
        drop_last: Whether to leave out the last batch if it is smaller.
    """

    rows: int
    batch_size: int
    rank: int = 0
    world_size: int = 1
    drop_last: bool = False

    @property
    def batches(self) -> int:
        """Batches in the epoch."""
        return self._whole + (self._last > 0)

    def places(self, number: int) -> tuple[int, int]:
        """Where this process's part of the batch of this number begins and ends in the order of all."""
        start = number * self.batch_size * self.world_size + self.rank * self.size(number)
        return start, start + self.size(number)

    def size(self, number: int) -> int:
        """Rows that this process gets of the batch of this number."""
        return self.batch_size if number < self._whole else self._last

    def before(self, places: np.ndarray) -> np.ndarray:
        """How many of this process's rows come before each of these places in the order of all."""
        numbers, within = np.divmod(places, self.batch_size * self.world_size)
        sizes = np.where(numbers < self._whole, self.batch_size, self._last)
        return numbers * self.batch_size + np.clip(within - self.rank * sizes, 0, sizes)

    @property
    def _whole(self) -> int:
        return self.rows // (self.batch_size * self.world_size)

    @property
    def _last(self) -> int:
        rest = self.rows % (self.batch_size * self.world_size)
        return 0 if self.drop_last else rest // self.world_size


def _power_of_two(n: int) -> int:
    """The largest power of two that is at most n; 1 for smaller n."""
    return 1 << max(0, n.bit_length() - 1)
