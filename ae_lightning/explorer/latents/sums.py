"""What each latent does over all rows, in sums."""

from __future__ import annotations

import torch
from torch import Tensor

from ae_lightning.explorer.latents.rows import Firings, Rows


class Sums:
    """Sums over rows for each latent, in float64.

    Args:
        latents: How many there are.
        classes: How many classes the rows' samples have; None without classes.
    """

    def __init__(self, latents: int, classes: int | None) -> None:
        self.rows = 0
        self.fired = torch.zeros(latents, dtype=torch.int64)
        self.total = torch.zeros(latents, dtype=torch.float64)
        #: Smallest and largest activation that is not zero, ±∞ where the latent never fires.
        self.low, self.high = torch.full((latents,), torch.inf), torch.full((latents,), -torch.inf)
        self.classes = classes
        cells = latents * (classes or 0)
        self._class_total = torch.zeros(cells, dtype=torch.float64)
        self._class_fired = torch.zeros(cells, dtype=torch.int64)
        self._class_rows = torch.zeros(classes or 0, dtype=torch.int64)

    def add(self, rows: Rows, fired: Firings) -> None:
        """Add up a batch."""
        self.rows += len(rows)
        latent, value = fired.latent, fired.value.double()
        self.fired += torch.bincount(latent, minlength=len(self.fired))
        self.total.index_add_(0, latent, value)
        self.low.scatter_reduce_(0, latent, fired.value, "amin")
        self.high.scatter_reduce_(0, latent, fired.value, "amax")
        if self.classes is not None and rows.label is not None:
            self._add_classes(rows.label, fired, self.classes)

    @property
    def density(self) -> Tensor:
        """Fraction of rows on which each latent fires, float64 (latents,)."""
        return self.fired / max(self.rows, 1)

    @property
    def mean(self) -> Tensor:
        """Mean activation over the rows on which a latent fires, 0 where there are none, float64 (latents,)."""
        return self.total / self.fired.clamp(min=1)

    @property
    def class_mean(self) -> Tensor:
        """Mean activation over all rows of each class, 0 where it has none, float64 (latents, classes)."""
        return self._by_class(self._class_total)

    @property
    def class_density(self) -> Tensor:
        """Fraction of the rows of each class on which a latent fires, float64 (latents, classes)."""
        return self._by_class(self._class_fired.double())

    def _by_class(self, cells: Tensor) -> Tensor:
        return cells.view(len(self.fired), -1) / self._class_rows.clamp(min=1)

    def _add_classes(self, label: Tensor, fired: Firings, classes: int) -> None:
        known = label >= 0
        self._class_rows += torch.bincount(label[known], minlength=classes)
        own = label[fired.row]
        there = own >= 0
        cell = fired.latent[there] * classes + own[there]
        self._class_total.index_add_(0, cell, fired.value[there].double())
        self._class_fired.index_add_(0, cell, torch.ones_like(cell))
