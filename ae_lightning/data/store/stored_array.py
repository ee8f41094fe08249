"""Rows of a store, read when they are asked for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ae_lightning.data.store.index import StoreIndex
from ae_lightning.data.store.names import EXTRAS
from ae_lightning.data.store.shard_file import Damaged, Head, Place, bytes_of, opened, read_ahead, read_into

# Rows that lie this near are read together with what is between them: that takes no longer than another call.
_GAP_BYTES = 16 * 2**10


class StoredArray:
    """One array of a store, of which rows are read when they are asked for; any number of threads may ask at once.

    It takes the place of a tensor as the samples of an `InMemoryDataset`. No file is mapped or kept open.

    Args:
        index: The store's index.
        name: The array, or one of the index's extras (`sample`, `position`, `y`), whose rows are single numbers.
    """

    def __init__(self, index: StoreIndex, name: str) -> None:
        if name not in index.arrays and name not in index.extras:
            raise ValueError(f"there is no array {name} in {index.folder}")
        self.index = index
        self.name = name
        extra = name not in index.arrays
        self.dtype: torch.dtype = EXTRAS[name] if extra else index.dtype(name)
        self.shape: tuple[int, ...] = (index.rows, *(() if extra else (index.width(name),)))
        self._places: dict[int, Place] = {}

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: Tensor | np.ndarray) -> Tensor:
        """Gather rows (k, …), in the order in which they are asked for.

        Args:
            rows: Their numbers (k,), counted from 0; one may come twice.

        Raises:
            IndexError: A number is not below the number of rows.
            DataError: A shard is missing or cut short.
        """
        wanted = torch.as_tensor(rows, dtype=torch.int64).cpu().numpy()
        if wanted.size and not (wanted.min() >= 0 and wanted.max() < len(self)):
            raise IndexError(f"rows {wanted.min()} to {wanted.max()} of an array of {len(self)}")
        distinct, order = np.unique(wanted, return_inverse=True)
        spans = self._spans(distinct)
        firsts, ends = spans[:, 0], spans[:, 1]
        places = np.cumsum(ends - firsts) - (ends - firsts)
        found = torch.empty((int((ends - firsts).sum()), *self.shape[1:]), dtype=self.dtype)
        self._read_spans(spans, found)
        # Where each row lies among what was read: behind all earlier spans.
        span = np.searchsorted(firsts, distinct, side="right") - 1
        place = places[span] + distinct - firsts[span] if distinct.size else distinct
        if len(found) == len(wanted) and np.array_equal(place[order], np.arange(len(wanted))):
            return found
        return found.index_select(0, torch.from_numpy(place[order]))

    def read(self, start: int, stop: int, out: Tensor | None = None) -> Tensor:
        """Read contiguous rows.

        Args:
            start: The first, counted from 0.
            stop: One behind the last.
            out: Where to put them: (stop - start, …), contiguous, of the array's type, on the CPU; None makes a tensor.

        Returns:
            The rows; `out` where it is given.

        Raises:
            IndexError: There are not that many rows.
            DataError: A shard is missing or cut short.
        """
        if not 0 <= start <= stop <= len(self):
            raise IndexError(f"rows {start} to {stop} of an array of {len(self)}")
        shape = (stop - start, *self.shape[1:])
        if out is None:
            out = torch.empty(shape, dtype=self.dtype)
        elif out.shape != shape or out.dtype != self.dtype or not out.is_contiguous():
            raise ValueError(f"{out.dtype} of {tuple(out.shape)} cannot take rows of {self.dtype} and {shape}")
        self._read_spans(self._between_borders(start, stop), out)
        return out

    def expect(self, start: int, stop: int) -> None:
        """Let the system begin to read rows that `read` is called for next, and do not wait for it.

        Raises:
            DataError: A shard is missing or cut short.
        """
        self._at_spans(
            self._between_borders(start, stop),
            lambda file, offset, begin, end: read_ahead(file, end - begin, offset),
        )

    def _between_borders(self, start: int, stop: int) -> np.ndarray:
        """The spans (spans, 2) that borders of shards make of contiguous rows."""
        step = self.index.shard_rows
        borders = np.arange(start // step + 1, -(-stop // step)) * step
        return np.stack([np.r_[start, borders], np.r_[borders, stop]], axis=1)

    def _spans(self, rows: np.ndarray) -> np.ndarray:
        """First rows and ends (spans, 2) of what is to be read of rising rows; no span goes over a shard's border."""
        if not rows.size:
            return np.empty((0, 2), dtype=np.int64)
        row_bytes = int(np.prod(self.shape[1:], dtype=np.int64)) * self.dtype.itemsize
        near = np.diff(rows) <= max(1, _GAP_BYTES // row_bytes)
        same = np.diff(rows // self.index.shard_rows) == 0
        breaks = np.flatnonzero(~(near & same)) + 1
        return np.stack([rows[np.r_[0, breaks]], rows[np.r_[breaks - 1, -1]] + 1], axis=1)

    def _read_spans(self, spans: np.ndarray, out: Tensor) -> None:
        """Read spans, none of which goes over a shard's border, one behind the other."""
        if not out.numel():
            return
        memory = bytes_of(out)
        self._at_spans(spans, lambda file, offset, begin, end: read_into(file, memory[begin:end], offset))

    def _at_spans(self, spans: np.ndarray, do: Callable[[int, int, int, int], None]) -> None:
        """Do something at spans, none of which goes over a shard's border.

        It gets the open file, the span's offset in it, and where the span begins and ends among the bytes of all.
        """
        done = 0
        shards = spans[:, 0] // self.index.shard_rows
        for number in np.unique(shards).tolist():
            entry = self.index.shards[number]
            path = self.index.folder / entry.file
            try:
                place = self._place(number)
                with opened(path) as file:
                    for first, end in spans[shards == number].tolist():
                        size = (end - first) * place.row_bytes
                        do(file, place.start + (first - entry.first_row) * place.row_bytes, done, done + size)
                        done += size
            except Damaged as error:
                raise self.index.damaged(path, str(error)) from error

    def _place(self, number: int) -> Place:
        """Where the array lies in a shard."""
        if number not in self._places:
            shard = self.index.shards[number]
            place = Head.read(self.index.folder / shard.file).places.get(self.name)
            if place is None or (place.dtype, place.shape) != (self.dtype, (shard.rows, *self.shape[1:])):
                raise Damaged(f"has no {self.name} of {self.dtype} and {(shard.rows, *self.shape[1:])}")
            self._places[number] = place
        return self._places[number]
