"""The samples that excite each latent most, found while rows stream by."""

from __future__ import annotations

from typing import Any

import numpy as np

from ae_lightning.explorer.latents.rows import Firings, Rows

Array = np.ndarray[Any, Any]

NO_SAMPLE = -1
"""Stands in place of the number of a sample where there is none."""


class TopSamples:
    """For each latent the samples with its largest activations, each sample once, by its strongest row.

    Of equal activations the sample with the smaller number comes first, and within a sample the earlier position: the
    result depends on the rows alone, and not on their order or batches. Memory is that of the result.

    Args:
        latents: How many there are.
        count: Samples that are kept for each.
    """

    def __init__(self, latents: int, count: int) -> None:
        #: float32 (latents, count), the largest first, −∞ where there are fewer.
        self.value: Array = np.full((latents, count), -np.inf, dtype=np.float32)
        #: int64 (latents, count), `NO_SAMPLE` where there are fewer.
        self.sample: Array = np.full((latents, count), NO_SAMPLE, dtype=np.int64)
        #: Position of the sample's strongest row, and its class, negative where it is not known.
        self.position: Array = np.zeros((latents, count), dtype=np.int64)
        self.label: Array = np.full((latents, count), -1, dtype=np.int64)

    @property
    def found(self) -> Array:
        """Where there is a sample, bool (latents, count)."""
        return self.sample != NO_SAMPLE

    def add(self, rows: Rows, fired: Firings) -> None:
        """Look at the firings on a batch of rows."""
        latent, value = fired.latent.numpy(), fired.value.numpy()
        strong = value >= self.value[latent, -1]  # an equal one may have a smaller number
        if not strong.any():
            return
        row = fired.row.numpy()[strong]
        label = np.full(len(rows), -1) if rows.label is None else rows.label.numpy()
        touched = np.unique(latent[strong])
        of_rows = rows.sample.numpy(), rows.position.numpy(), label
        new = latent[strong], value[strong], *(part[row] for part in of_rows)
        parts = (np.concatenate(pair) for pair in zip(self._kept(touched), new, strict=True))
        self._keep(*_best_of_each(*parts))

    def _kept(self, latents: Array) -> tuple[Array, ...]:
        """What is kept for some latents: the latent, activation, sample, position and class of each entry."""
        there = self.found[latents]
        own = np.broadcast_to(latents[:, None], there.shape)[there]
        return own, *(part[latents][there] for part in (self.value, self.sample, self.position, self.label))

    def _keep(self, latent: Array, value: Array, sample: Array, position: Array, label: Array) -> None:
        order = np.lexsort((sample, -value, latent))
        latent = latent[order]
        starts = np.flatnonzero(_begins(latent))
        rank = np.arange(len(latent)) - np.repeat(starts, np.diff(starts, append=len(latent)))
        kept = rank < self.value.shape[1]
        place = latent[kept], rank[kept]
        for own, part in ((self.value, value), (self.sample, sample), (self.position, position), (self.label, label)):
            own[place] = part[order][kept]


def _best_of_each(latent: Array, value: Array, sample: Array, position: Array, label: Array) -> tuple[Array, ...]:
    """Of the entries of a sample for one latent the largest."""
    order = np.lexsort((position, -value, sample, latent))
    first = order[_begins(latent[order]) | _begins(sample[order])]
    return latent[first], value[first], sample[first], position[first], label[first]


def _begins(numbers: Array) -> Array:
    """Where a number differs from the one before, bool (n,)."""
    return np.diff(numbers, prepend=numbers[:1] - 1) != 0
