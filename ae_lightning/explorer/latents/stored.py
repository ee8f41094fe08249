"""Rows of a store as a dictionary reads them, and the tokens that they stand for."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ae_lightning.data.activations import ActivationsDataModule
from ae_lightning.data.in_memory import InMemoryDataset
from ae_lightning.data.row_arrays import RowsSideBySide
from ae_lightning.data.store import StoredArray, StoreIndex
from ae_lightning.data.store.names import TOKENS
from ae_lightning.explorer.latents.rows import Rows

_SPANS = 64
# Files of token ids that are kept open in memory.
_KEPT = 8


class StoredRows:
    """Rows of a store, scaled as the data module scales them, in the order in which they are stored.

    Args:
        data: The data module.
        most: Rows at most; of a store that has more, 64 spans of rows are taken that lie evenly over it.
        batch_size: Rows of a batch.
        tokens: Token ids of the samples; None where they are no texts.
    """

    def __init__(self, data: ActivationsDataModule, most: int, batch_size: int, tokens: StoredTokens | None) -> None:
        index = data.index
        arrays = [StoredArray(index, name) for name in data.layers]
        scale, shift = data.scaling
        self._x = InMemoryDataset(RowsSideBySide(arrays) if len(arrays) > 1 else arrays[0], scale=scale, shift=shift)
        self._sample, self._position = StoredArray(index, "sample"), StoredArray(index, "position")
        self._label = StoredArray(index, "y") if data.num_classes is not None else None
        self._tokens = tokens
        self._spans = spans(index.rows, most)
        self._batch_size = batch_size

    @property
    def rows(self) -> int:
        """How many rows there are in all batches."""
        return sum(stop - start for start, stop in self._spans)

    def batches(self) -> Iterator[Rows]:
        """The rows, the same ones each time.

        Raises:
            DataError: A file of the store is missing or damaged.
        """
        for first, end in self._spans:
            for start in range(first, end, self._batch_size):
                yield self._read(start, min(start + self._batch_size, end))

    def _read(self, start: int, stop: int) -> Rows:
        x, *_ = self._x.__getitems__(torch.arange(start, stop))
        sample, position = self._sample.read(start, stop), self._position.read(start, stop).long()
        label = None if self._label is None else self._label.read(start, stop)
        token = None if self._tokens is None else self._tokens.at(sample, position)
        return Rows(x, sample, position, label, token)


class StoredTokens:
    """Token ids of a store's samples, of which a few files are kept in memory.

    Args:
        index: The store's index.
        vocabulary: How many tokens have a name.
    """

    def __init__(self, index: StoreIndex, vocabulary: int) -> None:
        self._index = index
        self._vocabulary = vocabulary
        self._firsts = np.cumsum([0, *(file.samples for file in index.sample_files)])
        self._file = lru_cache(_KEPT)(self._read)

    def of(self, sample: int) -> np.ndarray:
        """Token ids (length,) of a sample, int64.

        Raises:
            DataError: Its file is missing or damaged, or has tokens without a name.
        """
        number = int(np.searchsorted(self._firsts, sample, side="right")) - 1
        tokens, offsets = self._file(number)
        place = sample - int(self._firsts[number])
        return tokens[offsets[place] : offsets[place + 1]].numpy().astype(np.int64)

    def at(self, sample: Tensor, position: Tensor) -> Tensor:
        """Token ids (n,) at positions (n,) of samples (n,), int64.

        Raises:
            DataError: A file is missing or damaged, or has tokens without a name.
        """
        numbers = torch.bucketize(sample, torch.from_numpy(self._firsts), right=True) - 1
        found = torch.empty_like(sample)
        for number in numbers.unique().tolist():
            own = numbers == number
            tokens, offsets = self._file(number)
            found[own] = tokens[offsets[sample[own] - int(self._firsts[number])] + position[own]].long()
        return found

    def _read(self, number: int) -> tuple[Tensor, Tensor]:
        path = self._index.folder / self._index.sample_files[number].file
        try:
            content = load_file(path)
            tokens, offsets = content["tokens"], content["offsets"]
        except (OSError, SafetensorError, KeyError) as error:
            raise self._index.damaged(path, "is missing or damaged") from error
        if len(tokens) and int(tokens.max()) >= self._vocabulary:
            raise self._index.damaged(path, f"has tokens that {TOKENS} does not name")
        return tokens, offsets


def spans(rows: int, most: int) -> list[tuple[int, int]]:
    """First rows and ends of spans that lie evenly over all rows and have no more than so many together."""
    if most >= rows:
        return [(0, rows)]
    count = min(_SPANS, most)
    starts = np.linspace(0, rows - most // count, count).astype(int)
    return [(int(start), int(start) + most // count) for start in starts]
