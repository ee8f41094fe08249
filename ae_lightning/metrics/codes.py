"""What metrics of codes share: codes of either kind, sums over a batch, and means over samples."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from ae_lightning.nn.sparse_code import SparseCode

Codes = Tensor | SparseCode
"""Codes (..., batch, latent) with all their zeros, or as indices and values."""


class MeanOverSamples(Metric):
    """Means over samples; the subclasses say of what."""

    is_differentiable = False
    full_state_update = False
    total: Tensor
    samples: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # The first update broadcasts the scalar where a value per latent is kept.
        self.add_state("total", torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("samples", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def each(self) -> Tensor:
        """The mean of each instance in float64, shape (...) or (..., latent), NaN before the first sample."""
        return self.total / self.samples

    def compute(self) -> Tensor:
        """Answer the same."""
        return self.each()


def over_batch(z: Codes, of: Callable[[Tensor], Tensor], dtype: torch.dtype) -> Tensor:
    """Sums over the batch, (..., latent), of a function of each value that is 0 at 0."""
    if isinstance(z, SparseCode):
        return z.places.over_batch(of(z.values).to(dtype))
    return of(z).sum(dim=-2, dtype=dtype)


def checked(z: Codes) -> Codes:
    """The codes, if they have a batch and latents.

    Raises:
        ValueError: They have fewer than two dimensions.
    """
    if z.ndim < 2:
        raise ValueError(f"codes must have shape (..., batch, latent), but theirs is {tuple(z.shape)}")
    return z
