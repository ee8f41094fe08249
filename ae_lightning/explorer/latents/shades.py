"""How strongly a latent fires along the samples that are shown of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ae_lightning.explorer.latents.rows import Firings, Rows
from ae_lightning.explorer.latents.top import TopSamples

Array = np.ndarray[Any, Any]


class Shades:
    """Activations at all rows of each latent's samples, or at those around the strongest one.

    Memory is that of the result: at most (before + 1 + after) numbers for each pair of a latent and a sample.

    Args:
        top: The pairs.
        before: Positions before the strongest one that are looked at; None looks at the whole sample.
        after: Those after it.
    """

    def __init__(self, top: TopSamples, before: int | None = None, after: int | None = None) -> None:
        latent, rank = np.nonzero(top.found)
        sample, peak = top.sample[latent, rank], top.position[latent, rank]
        self._pairs = top.value.size
        self._width = int(sample.max(initial=0)) + 1
        keys = latent * self._width + sample
        self._order = np.argsort(keys)
        self._keys = keys[self._order]
        self._pair = latent * top.value.shape[1] + rank
        self._first = np.full(len(peak), 0) if before is None else peak - before
        self._last = np.full(len(peak), np.iinfo(np.int64).max) if after is None else peak + after
        self._found: list[tuple[Array, Array, Array]] = []

    def add(self, rows: Rows, fired: Firings) -> None:
        """Keep what a batch has of the pairs."""
        if len(self._keys) == 0:
            return
        row = fired.row.numpy()
        sample, position = rows.sample.numpy()[row], rows.position.numpy()[row]
        keys = fired.latent.numpy() * self._width + sample
        place = np.searchsorted(self._keys, keys).clip(max=len(self._keys) - 1)
        ours = (self._keys[place] == keys) & (sample < self._width)
        pair, position = self._order[place[ours]], position[ours]
        near = (position >= self._first[pair]) & (position <= self._last[pair])
        self._found.append((self._pair[pair[near]], position[near], fired.value.numpy()[ours][near]))

    def result(self) -> tuple[Array, Array, Array]:
        """What was found, by latent, then the rank of the sample, then position.

        Returns:
            Where the entries of each pair begin, and at the end their number, int64 (latents · count + 1,); their
            positions, int64 (entries,), and activations, float32 (entries,).
        """
        none = np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32)
        pair, position, value = (np.concatenate(parts) for parts in zip(none, *self._found, strict=True))
        order = np.lexsort((position, pair))
        offsets = np.searchsorted(pair[order], np.arange(self._pairs + 1))
        return offsets, position[order], value[order]
