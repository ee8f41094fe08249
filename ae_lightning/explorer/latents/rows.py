"""Rows of activations with where they are from, and what fires on them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from torch import Tensor

from ae_lightning.metrics.codes import Codes
from ae_lightning.nn.sparse_code import SparseCode


@dataclass(frozen=True)
class Rows:
    """A batch of rows.

    Args:
        x: What the model reads, (n, …).
        sample: Number of the sample that each row is from, int64 (n,).
        position: The row's place in its sample: its token, or its place in a map counted row by row, int64 (n,).
        label: Class of each row's sample, negative where it is not known, int64 (n,); None without classes.
        token: Token that each row stands for, int64 (n,); None where samples are no text.
    """

    x: Tensor
    sample: Tensor
    position: Tensor
    label: Tensor | None = None
    token: Tensor | None = None

    def __len__(self) -> int:
        return len(self.sample)


Batches = Callable[[], Iterable[Rows]]
"""Gives the same batches each time that it is called."""

Encode = Callable[[Tensor], Codes]
"""Codes (n, latent) of rows (n, …), of one instance."""


@dataclass(frozen=True)
class Firings:
    """Which latents fire on a batch of rows, each entry once, in the order of rows.

    Args:
        row: Place of the row in its batch, int64 (fired,).
        latent: The latent, int64 (fired,).
        value: The activation, which is not zero, float32 (fired,).
    """

    row: Tensor
    latent: Tensor
    value: Tensor


def firings(codes: Codes) -> Firings:
    """What is not zero in codes (n, latent)."""
    if isinstance(codes, SparseCode):
        kept = codes.values != 0
        row, latent, value = codes.places.samples[kept], codes.places.latents[kept], codes.values[kept]
    else:
        row, latent = codes.nonzero(as_tuple=True)
        value = codes[row, latent]
    return Firings(row.cpu(), latent.cpu(), value.float().cpu())
