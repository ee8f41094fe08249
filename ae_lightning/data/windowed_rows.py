"""Training rows that are seen in an order of windows: which they are, and what of them is in memory."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ae_lightning.data.byte_sizes import said_size
from ae_lightning.data.row_arrays import AwaitedRows
from ae_lightning.data.selection import GROUP, Selection
from ae_lightning.data.windows import WindowOrder, block_rows, default_window
from ae_lightning.errors import ConfigError

#: Windows in memory: one that is used, and one that is being read.
WINDOWS = 2


class WindowedRows:
    """Rows of a set, all in memory where they fit, and else read in windows; the order is the same.

    Args:
        selection: Which rows belong to the set.
        x: The samples; of several arrays they come side by side.
        y: The labels, or None.
        target: The targets, or None.
        memory: Bytes that rows may take in memory.
        window: Rows that are shuffled together; None takes the power of two that takes 128 to 256 MiB.
        fingerprint: A number that tells these rows from others, below 2⁵³.

    Raises:
        ConfigError: Neither all rows nor the windows fit into the memory.
    """

    def __init__(
        self,
        selection: Selection,
        x: Sequence[AwaitedRows],
        y: AwaitedRows | None = None,
        target: AwaitedRows | None = None,
        *,
        memory: int,
        window: int | None = None,
        fingerprint: int,
    ) -> None:
        self.selection = selection
        self.x = x
        self.y = y
        self.target = target
        self.fingerprint = fingerprint
        #: All that is read of a row: the samples' arrays, the labels, the targets.
        self.arrays: list[AwaitedRows] = [*x, *(part for part in (y, target) if part is not None)]
        row_bytes = sum(math.prod(array.shape[1:]) * array.dtype.itemsize for array in self.arrays)
        rows = len(x[0])
        #: Rows that are shuffled together.
        self.window = window or default_window(row_bytes)
        #: Rows that are read in one piece.
        self.block = block_rows(self.window, row_bytes)
        #: Blocks that make a window.
        self.blocks = max(1, self.window // self.block)
        #: Rows of the set in each block, (blocks,) int64.
        self.counts = selection.counts(self.block)
        #: Whether all rows fit into the memory, and are read once.
        self.is_whole = rows * row_bytes <= memory
        #: Bytes that rows take in memory.
        self.bytes_taken = row_bytes * (rows if self.is_whole else WINDOWS * min(rows, self.blocks * self.block))
        if self.bytes_taken > memory:
            raise ConfigError(
                f"Two windows of {min(rows, self.window):,} rows{'' if window else ', as by default,'} take "
                f"{said_size(self.bytes_taken)}, and --data.memory is {said_size(memory)}; {_mend(row_bytes, memory)}."
            )

    @property
    def description(self) -> str:
        """How the rows are read, for a person."""
        how = "whole" if self.is_whole else f"in windows of {self.window:,} rows"
        return f"read {how}, which takes {said_size(self.bytes_taken)} of memory"

    def order(self, seed: int, epoch: int) -> WindowOrder:
        """The order of an epoch."""
        return WindowOrder(self.counts, self.blocks, seed=seed, epoch=epoch)

    def in_order(self, order: WindowOrder, window: int) -> np.ndarray:
        """The rows of a window in the order of the epoch, counted within the selection, (rows,) int64."""
        before = self.selection.before_blocks(self.block)
        rows = np.concatenate([np.arange(before[block], before[block + 1]) for block in order.blocks(window)])
        found = np.empty_like(rows)
        found[order.places(window)] = rows
        return found


def _mend(row_bytes: int, memory: int) -> str:
    """What makes windows fit into the memory: fewer rows, or more memory where not even the smallest do."""
    smallest = WINDOWS * GROUP * row_bytes
    if smallest > memory:
        return f"raise it to {-(-smallest // 2**20):,} MiB or more"
    return f"raise it, or give --data.window {default_window(row_bytes, memory // WINDOWS)}"
