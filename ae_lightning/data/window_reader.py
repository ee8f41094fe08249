"""A thread that reads windows of rows ahead, while others train on those before."""

from __future__ import annotations

import queue
import threading
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ae_lightning.data.windowed_rows import WINDOWS, WindowedRows
from ae_lightning.data.windows import Share, WindowOrder

# Threads that read the blocks of a window: while one waits for the disk, another copies.
_HANDS = 2
# Blocks that the system is told of before a hand reads them, so that the disk has always something to do.
_AHEAD = 8


class Window(NamedTuple):
    """Rows that lie in memory as they were read, and where those of this process are, in the order of the epoch.

    Args:
        parts: Of each array the rows of the window's blocks, one block after another, (rows of all blocks, …).
        order: Row numbers in these, (rows of this process,) int64.
    """

    parts: list[Tensor]
    order: Tensor


class WindowReader:
    """Reads the windows of an epoch one after another; a context, within which its thread lives.

    Each block is read in one piece to where it stays. Rows are not moved: what makes batches gathers them by their
    order, so that a row is copied once by the reader and once by the batch.

    Args:
        rows: What is read.
        order: The order of the epoch.
        share: What this process gets of it.
        first: The window to begin with.
    """

    def __init__(self, rows: WindowedRows, order: WindowOrder, share: Share, first: int) -> None:
        self._rows = rows
        self._order = order
        self._share = share
        self._first = first
        self._free: queue.SimpleQueue[list[Tensor]] = queue.SimpleQueue()
        self._done: queue.SimpleQueue[Window | BaseException] = queue.SimpleQueue()
        self._ended = threading.Event()
        self._number = first - 1
        self._window: Window | None = None
        self._thread = threading.Thread(target=self._run, name="reader of windows", daemon=True)

    def __enter__(self) -> WindowReader:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._free.put([])  # wakes the thread up
        self._thread.join()

    def window(self, number: int) -> Window:
        """A window of the epoch.

        Windows are asked for in ascending order. The memory of one is used again once a later one is asked for.

        Raises:
            Exception: What reading met.
        """
        while self._window is None or self._number < number:
            if self._window is not None:
                self._free.put(self._window.parts)
            found = self._done.get()
            if isinstance(found, BaseException):
                raise found
            self._number, self._window = self._number + 1, found
        return self._window

    def _run(self) -> None:
        try:
            with ThreadPoolExecutor(_HANDS) as hands:
                for number in range(self._first, len(self._order)):
                    memory = self._new_memory() if number < self._first + WINDOWS else self._free.get()
                    if self._ended.is_set():
                        return
                    self._done.put(self._filled(number, memory, hands))
        except BaseException as error:  # it is raised again where a window is asked for
            self._done.put(error)

    def _new_memory(self) -> list[Tensor]:
        most = max(len(self._order.blocks(number)) for number in range(len(self._order))) * self._rows.block
        return [torch.empty(most, *array.shape[1:], dtype=array.dtype) for array in self._rows.arrays]

    def _filled(self, number: int, memory: list[Tensor], hands: ThreadPoolExecutor) -> Window:
        """Read a window, or a part of it if nobody waits for it any more."""
        slots = list(enumerate(self._order.blocks(number).tolist()))
        works = [hands.submit(self._read, slots[hand::_HANDS], memory) for hand in range(_HANDS)]
        order = self._order_within(number)
        for work in works:
            work.result()
        return Window(memory, order)

    def _read(self, slots: list[tuple[int, int]], memory: list[Tensor]) -> None:
        """Read blocks, each to its slot of a window."""
        size, told = self._rows.block, 1
        for number, (slot, block) in enumerate(slots):
            if self._ended.is_set():
                return
            for _, coming in slots[max(told, number + 1) : number + 1 + _AHEAD]:
                self._expect(coming)
            told = number + 1 + _AHEAD
            start, stop = self._bounds(block)
            for array, window in zip(self._rows.arrays, memory, strict=True):
                array.read(start, stop, window[slot * size : slot * size + stop - start])

    def _expect(self, block: int) -> None:
        for array in self._rows.arrays:
            array.expect(*self._bounds(block))

    def _bounds(self, block: int) -> tuple[int, int]:
        return block * self._rows.block, min((block + 1) * self._rows.block, len(self._rows.arrays[0]))

    def _order_within(self, number: int) -> Tensor:
        """Where the rows of this process lie in a window's memory, in the order of the epoch."""
        lying = np.concatenate(
            [
                slot * self._rows.block + self._rows.selection.within(*self._bounds(block))
                for slot, block in enumerate(self._order.blocks(number).tolist())
            ]
        )
        in_order = np.empty_like(lying)
        in_order[self._order.places(number)] = lying
        if self._share.world_size == 1:  # all of them, which need not be looked for
            return torch.from_numpy(in_order)
        places = self._order.starts[number] + np.arange(len(lying) + 1)
        return torch.from_numpy(in_order[np.diff(self._share.before(places)) > 0])
