"""Sparsity of latent codes: how many latents fire, how often, and how many never do.

A latent *fires* on a sample when its value is greater than zero: the field's definition, meant for rectified
codes (ReLU, TopK, JumpReLU). With ``two_sided`` it fires when its value is not zero, which is the question to
ask of a code that may be negative; a dense linear code then fires always. A NaN never fires.

Codes have shape (..., batch, latent): the batch is dimension -2 and leading dimensions are instances. Counts
are kept as int64 on the device of the codes and are read only by ``compute``, so that an update costs no
synchronization.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric


def fired(z: Tensor, *, two_sided: bool = False) -> Tensor:
    """Where latents fire.

    Args:
        z: Codes of any shape.
        two_sided: Count negative values as well.

    Returns:
        Boolean tensor of the shape of ``z``.
    """
    return (z > 0) | (z < 0) if two_sided else z > 0


def firing_counts(z: Tensor, *, two_sided: bool = False) -> Tensor:
    """Number of samples on which each latent fires.

    Args:
        z: Codes of shape (..., batch, latent).
        two_sided: Count negative values as well.

    Returns:
        int64 tensor of shape (..., latent): summed over the batch.

    Raises:
        ValueError: If ``z`` has fewer than two dimensions.
    """
    if z.ndim < 2:
        raise ValueError(f"codes must have shape (..., batch, latent), but theirs is {tuple(z.shape)}")
    return fired(z, two_sided=two_sided).sum(dim=-2)


class _FiringMetric(Metric):
    """Counts firings per latent; the subclasses say what to make of the counts."""

    is_differentiable = False
    full_state_update = False
    firings: Tensor
    samples: Tensor

    def __init__(self, *, two_sided: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.two_sided = two_sided
        # The first update broadcasts the scalar to (..., latent), so that no width has to be told beforehand.
        self.add_state("firings", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("samples", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, z: Tensor) -> None:
        """Count the firings of a batch of codes of shape (..., batch, latent)."""
        self.firings = self.firings + firing_counts(z, two_sided=self.two_sided)
        self.samples = self.samples + z.shape[-2]


class FiringDensity(_FiringMetric):
    """Fraction of samples on which each latent fired, shape (..., latent), in [0, 1].

    Every process of a distributed run must have seen at least one batch before ``compute``.

    Args:
        two_sided: Count negative values as well.
        **kwargs: Arguments of ``torchmetrics.Metric``.
    """

    higher_is_better = None

    def compute(self) -> Tensor:
        """Answer the fraction per latent, NaN before the first sample."""
        return self.firings / self.samples


class DeadFraction(_FiringMetric):
    """Fraction of latents that never fired, a scalar in [0, 1]; over instances the mean.

    Every process of a distributed run must have seen at least one batch before ``compute``.

    Args:
        two_sided: Count negative values as well.
        **kwargs: Arguments of ``torchmetrics.Metric``.
    """

    higher_is_better = False

    def compute(self) -> Tensor:
        """Answer the fraction of latents without a single firing, NaN before the first sample."""
        return torch.where(self.samples > 0, (self.firings == 0).float().mean(), torch.nan)


class L0(_FiringMetric):
    """Mean number of latents that fire per sample, a scalar in [0, latent]; over instances the mean.

    Every process of a distributed run must have seen at least one batch before ``compute``.

    Args:
        two_sided: Count negative values as well.
        **kwargs: Arguments of ``torchmetrics.Metric``.
    """

    higher_is_better = False

    def compute(self) -> Tensor:
        """Answer the mean count, NaN before the first sample."""
        density = self.firings / self.samples
        return density.sum(dim=-1).mean() if density.ndim else density
