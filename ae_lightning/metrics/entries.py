"""The entries of codes and of true features that are not zero, and which of them stand in the same sample."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from itertools import pairwise

import torch
from torch import Tensor

from ae_lightning.metrics.codes import Codes
from ae_lightning.nn.precision import at_least_float32
from ae_lightning.nn.sparse_code import SparseCode

# Pairs of entries that are looked at together: 32 MB for each number of a pair.
_PAIRS = 1 << 22


class Entries:
    """Entries of codes (…, batch, width) that are not zero, by rising sample.

    What is made of them costs what they are many, however wide the code is.

    Args:
        values: One (kept,) for each entry.
        samples: The sample of each (kept,), rising; those of instance i begin at i · batch.
        columns: The latent or feature of each (kept,), rising within a sample.
        shape: (…, batch, width).
    """

    def __init__(self, values: Tensor, samples: Tensor, columns: Tensor, shape: torch.Size) -> None:
        self.values = values
        self.samples = samples
        self.columns = columns
        self.shape = shape

    @classmethod
    def of(cls, code: Codes | Entries) -> Entries:
        """The entries of codes of either kind, without a gradient; in float32 or wider.

        Raises:
            ValueError: There are fewer than two dimensions.
        """
        if isinstance(code, Entries):
            return code
        if code.ndim < 2:
            raise ValueError(f"codes must have the shape (..., batch, latent), but have {tuple(code.shape)}")
        width = code.shape[-1]
        if isinstance(code, SparseCode):
            kept = code.values != 0
            places = code.places.samples[kept], code.places.latents[kept] % width
            return cls(at_least_float32(code.values.detach()[kept]), *places, code.shape)
        flat = code.detach().reshape(-1)
        kept = flat.nonzero().squeeze(-1)
        return cls(at_least_float32(flat[kept]), kept // width, kept % width, code.shape)

    @property
    def width(self) -> int:
        """Latents or features of a sample."""
        return self.shape[-1]

    @property
    def instances(self) -> torch.Size:
        """The leading dimensions."""
        return self.shape[:-2]

    @property
    def rows(self) -> Tensor:
        """The latent of each (kept,), counted through all instances."""
        return self.samples // max(self.shape[-2], 1) * self.width + self.columns

    @cached_property
    def _keys(self) -> Tensor:
        return self.samples * self.width + self.columns

    def repeated(self, instances: torch.Size) -> Entries:
        """The same for each of some instances, where all share these samples.

        Raises:
            ValueError: There are other instances already.
        """
        if self.instances == instances:
            return self
        if self.instances:
            raise ValueError(f"instances {tuple(self.instances)} do not fit instances {tuple(instances)}")
        copies = instances.numel()
        first = torch.arange(copies, device=self.samples.device).unsqueeze(-1) * self.shape[-2]
        return Entries(
            self.values.repeat(copies),
            (first + self.samples).flatten(),
            self.columns.repeat(copies),
            instances + self.shape,
        )

    def where(self, kept: Tensor) -> Entries:
        """Those that a boolean (kept,) names."""
        return Entries(self.values[kept], self.samples[kept], self.columns[kept], self.shape)

    def find(self, samples: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Where entries stand, by sample and column (k,): their number (k,), and whether there is such an entry."""
        if not len(self.values):
            return torch.zeros_like(samples), torch.zeros_like(samples, dtype=torch.bool)
        keys = samples * self.width + columns
        number = torch.searchsorted(self._keys, keys).clamp_(max=len(self._keys) - 1)
        return number, self._keys[number] == keys

    def sums(self, values: Tensor) -> Tensor:
        """Sums of numbers (kept,), one for each entry, by latent: (…, width); of booleans their count, int64."""
        zeros = torch.zeros(self.instances.numel() * self.width, dtype=_adding(values), device=values.device)
        return zeros.scatter_add_(0, self.rows, values.to(zeros.dtype)).view(*self.instances, self.width)

    def beside(self, other: Entries) -> Iterator[tuple[Tensor, Tensor]]:
        """Each entry beside each of another code's in the same sample, a part at a time.

        Yields:
            Numbers (pairs,) of the entries here, and of those there.
        """
        bags = self.shape[:-1].numel()
        per_sample = torch.bincount(other.samples, minlength=bags)
        starts = (per_sample.cumsum(0) - per_sample)[self.samples]
        counts = per_sample[self.samples]
        ends = counts.cumsum(0)
        total = int(ends[-1]) if len(ends) else 0
        cuts = torch.arange(0, total, _PAIRS, device=ends.device)
        edges = [*torch.searchsorted(ends, cuts, right=True).tolist(), len(ends)]
        for begin, end in pairwise(edges):
            own = counts[begin:end]
            shift = starts[begin:end] - (own.cumsum(0) - own)
            mine = torch.arange(end - begin, device=own.device).repeat_interleave(own)
            theirs = torch.arange(len(mine), device=own.device).add_(shift[mine])
            yield mine.add_(begin), theirs


def _adding(values: Tensor) -> torch.dtype:
    return torch.float64 if values.is_floating_point() else torch.int64


def joined(z: Codes | Entries, y: Codes | Entries) -> tuple[Entries, Entries]:
    """Codes and true features of the same samples, each for all instances.

    Args:
        z: Codes (…, batch, latent).
        y: True features (batch, feature) that all instances share, or (…, batch, feature).

    Raises:
        ValueError: They have other numbers of samples or instances.
    """
    codes, truths = Entries.of(z), Entries.of(y)
    if codes.shape[-2] != truths.shape[-2]:
        raise ValueError(f"there are codes of {codes.shape[-2]} samples, but true features of {truths.shape[-2]}")
    return codes, truths.repeated(codes.instances)
