"""Rows that are read when they are asked for, of arrays that need not fit into memory."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, cast

import numpy as np
import torch
from torch import Tensor

from ae_lightning.data.in_memory import LazyRows, as_tensor, gather
from ae_lightning.data.selection import Selection

_AT_ONCE = 2**26


class RowArray(LazyRows, Protocol):
    """Rows that are read in order too; any number of threads may ask at once."""

    def read(self, start: int, stop: int, out: Tensor | None = None) -> Tensor:
        """Read the rows from ``start`` to ``stop``, into ``out`` where it is given: contiguous, on the CPU."""


class AwaitedRows(RowArray, Protocol):
    """Rows that can be told which of them are read next."""

    def expect(self, start: int, stop: int) -> None:
        """Let the system begin to read the rows from ``start`` to ``stop``, and do not wait for it."""


class JoinedRows:
    """Arrays in memory or mapped from disk, one after another.

    Args:
        arrays: Arrays (rows, …) of one type and of one shape of a row.
    """

    def __init__(self, arrays: Sequence[Tensor | np.ndarray]) -> None:
        self._arrays = arrays
        self._starts = np.cumsum([0, *(len(array) for array in arrays)], dtype=np.int64)
        self.shape: tuple[int, ...] = (int(self._starts[-1]), *arrays[0].shape[1:])
        self.dtype: torch.dtype = _piece(arrays[0], 0, 0).dtype

    @property
    def nbytes(self) -> int:
        """Bytes of all rows."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Tensor) -> Tensor:
        """Gather rows (k, …) by their numbers (k,), int64, in the order in which they are asked for."""
        found = torch.empty(len(rows), *self.shape[1:], dtype=self.dtype)
        owners = torch.bucketize(rows, torch.from_numpy(self._starts), right=True) - 1
        for owner in owners.unique().tolist():
            places = torch.nonzero(owners == owner).flatten()
            found[places] = gather(self._arrays[owner], rows[places] - int(self._starts[owner]))
        return found

    def read(self, start: int, stop: int, out: Tensor | None = None) -> Tensor:
        """Read the rows from ``start`` to ``stop``, into ``out`` where it is given."""
        out = torch.empty(stop - start, *self.shape[1:], dtype=self.dtype) if out is None else out
        for owner in range(len(self._arrays)):
            first, end = max(start, int(self._starts[owner])), min(stop, int(self._starts[owner + 1]))
            if first < end:
                rows = _piece(self._arrays[owner], first - int(self._starts[owner]), end - int(self._starts[owner]))
                as_items(out[first - start : end - start])[:] = as_items(rows)
        return out

    def expect(self, start: int, stop: int) -> None:
        """Do nothing: what is mapped the system reads ahead by itself."""


class SelectedRows:
    """The rows of a selection, counted by themselves.

    Args:
        array: All rows.
        selection: Which of them.
    """

    def __init__(self, array: LazyRows, selection: Selection) -> None:
        self.array = array
        self.selection = selection
        self.shape: tuple[int, ...] = (len(selection), *array.shape[1:])
        self.dtype: torch.dtype = array.dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Tensor) -> Tensor:
        """Gather rows (k, …) by their numbers (k,), int64, within the selection."""
        return self.array[torch.from_numpy(self.selection.rows(rows.numpy()))]


class RowsSideBySide:
    """Vectors of several arrays with the same rows, one behind the other.

    Args:
        arrays: Arrays (rows, width) each.
    """

    def __init__(self, arrays: Sequence[RowArray]) -> None:
        self.arrays = arrays
        self.shape: tuple[int, ...] = (len(arrays[0]), sum(array.shape[1] for array in arrays))
        # PyTorch has no float16 and bfloat16 in one.
        types = {array.dtype for array in arrays}
        self.dtype: torch.dtype = types.pop() if len(types) == 1 else torch.float32

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Tensor) -> Tensor:
        """Gather rows (k, Σ width) by their numbers (k,), int64."""
        return torch.cat([array[rows].to(self.dtype) for array in self.arrays], dim=1)

    def read(self, start: int, stop: int, out: Tensor | None = None) -> Tensor:
        """Read the rows from ``start`` to ``stop``, into ``out`` where it is given."""
        found = torch.cat([array.read(start, stop).to(self.dtype) for array in self.arrays], dim=1)
        return found if out is None else out.copy_(found)


def rows_of(array: Tensor | np.ndarray | LazyRows) -> AwaitedRows:
    """The rows of an array of any kind, to be read in order too."""
    return JoinedRows([array]) if isinstance(array, Tensor | np.ndarray) else cast(AwaitedRows, array)


def read_whole(array: RowArray) -> Tensor:
    """All rows, in memory; no more than 64 MiB are there twice."""
    whole = torch.empty(array.shape, dtype=array.dtype)
    step = max(1, _AT_ONCE // whole[:1].nbytes)
    for start in range(0, len(whole), step):
        part = whole[start : start + step]
        array.read(start, start + len(part), part)
    return whole


def as_items(rows: Tensor) -> np.ndarray:
    """Contiguous rows (n, …) on the CPU, of any type, as n items of so many bytes; the memory is theirs.

    NumPy moves such items with one processor and without holding the interpreter, which a thread beside the training
    should do: PyTorch's own copies would take all processors from it.
    """
    return rows.reshape(len(rows), -1).view(torch.uint8).numpy().view(f"V{rows[:1].nbytes}")[:, 0]


def _piece(array: Tensor | np.ndarray, start: int, stop: int) -> Tensor:
    """Some consecutive rows, contiguous."""
    if isinstance(array, Tensor):
        return array[start:stop].contiguous()
    return as_tensor(np.array(array[start:stop]))  # copied: torch warns of memory that it must not write to
