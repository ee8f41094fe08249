"""Sparsity of latent codes: how many latents fire, how often, how many never do, and how large the values are.

A latent *fires* on a sample when its value is greater than zero: the field's definition, meant for rectified
codes (ReLU, TopK, JumpReLU). With ``two_sided`` it fires when its value is not zero, which is the question to
ask of a code that may be negative; a dense linear code then fires always. A NaN never fires.

Codes have shape (..., batch, latent): the batch is dimension -2 and leading dimensions are instances. A `SparseCode`
of that shape is measured by its entries, without becoming dense. Counts are kept as int64 and sums as float64 on the
device of the codes, and are read only by ``compute``, so that an update costs no synchronization and the numbers do
not depend on how the set is cut into batches. Every process of a distributed run must have seen at least one batch
before ``compute``.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from ae_lightning.losses.sparsity import Reduction, hoyer_of_norms, hoyer_sparsity
from ae_lightning.metrics.codes import Codes, MeanOverSamples, checked, over_batch
from ae_lightning.nn.precision import at_least_float32
from ae_lightning.nn.sparse_code import SparseCode


def fired(z: Tensor, *, two_sided: bool = False) -> Tensor:
    """Where latents fire.

    Args:
        z: Codes of any shape.
        two_sided: Count negative values as well.

    Returns:
        Boolean tensor of the shape of ``z``.
    """
    return (z > 0) | (z < 0) if two_sided else z > 0


def has_silent_latents(z: Tensor) -> bool:
    """Whether a code is sparse by construction: on a sample on which some latents are not zero, another exactly is.

    Of ReLU, TopK and their like that is so; values of a linear code, a sigmoid or a tanh come only close to zero.
    Samples whose whole code is zero do not tell, since a linear code of a sample that is zero is zero too.

    Args:
        z: Codes of shape (..., batch, latent).
    """
    silent = z == 0
    return bool((silent & ~silent.all(dim=-1, keepdim=True)).any())


def firing_counts(z: Codes, *, two_sided: bool = False) -> Tensor:
    """Number of samples on which each latent fires.

    Args:
        z: Codes of shape (..., batch, latent).
        two_sided: Count negative values as well.

    Returns:
        int64 tensor of shape (..., latent): summed over the batch.

    Raises:
        ValueError: If ``z`` has fewer than two dimensions.
    """
    return over_batch(checked(z), partial(fired, two_sided=two_sided), torch.int64)


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

    def update(self, z: Codes) -> None:
        """Count the firings of a batch of codes of shape (..., batch, latent)."""
        self.firings = self.firings + firing_counts(z, two_sided=self.two_sided)
        self.samples = self.samples + z.shape[-2]


class FiringDensity(_FiringMetric):
    """Fraction of samples on which each latent fired, shape (..., latent), in [0, 1].

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

    Args:
        two_sided: Count negative values as well.
        **kwargs: Arguments of ``torchmetrics.Metric``.
    """

    higher_is_better = False

    def compute(self) -> Tensor:
        """Answer the mean count, NaN before the first sample."""
        density = self.firings / self.samples
        return density.sum(dim=-1).mean() if density.ndim else density


class L1(MeanOverSamples):
    """L1 norm of the code, mean over samples, a scalar in the units of the code; over instances the mean.

    It is ``losses.sparsity.l1`` of the whole evaluated set, but for instances, over which the loss is summed.

    Args:
        reduction: Over latents: ``sum`` is the norm, ``mean`` is the norm divided by the number of latents.
        **kwargs: Arguments of ``torchmetrics.Metric``.

    Raises:
        ValueError: If ``reduction`` is unknown.
    """

    higher_is_better = False

    def __init__(self, reduction: Reduction = "sum", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if reduction not in ("sum", "mean"):
            raise ValueError(f"unknown reduction {reduction!r}; known are sum, mean")
        self.reduction = reduction

    def update(self, z: Codes) -> None:
        """Add a batch of codes of shape (..., batch, latent)."""
        per_latent = over_batch(checked(z).detach(), Tensor.abs, torch.float64)
        norms = per_latent.sum(dim=-1) if self.reduction == "sum" else per_latent.mean(dim=-1)
        self.total = self.total + norms
        self.samples = self.samples + z.shape[-2]

    def compute(self) -> Tensor:
        """Answer the mean over samples and instances in float64, NaN before the first sample."""
        return self.each().mean()


class HoyerSparsity(MeanOverSamples):
    """Hoyer's measure, mean over samples, a scalar in [0, 1]: 1 is one active latent; over instances the mean.

    A sample whose code is zero counts with 0, see ``losses.sparsity.hoyer_sparsity``, as if it were dense, unless it
    is left out: of sparse features most samples have none.

    Args:
        nonzero_only: Leave out samples whose code is zero, and instances that have no other; 0 where all are zero.
        **kwargs: Arguments of ``torchmetrics.Metric``.
    """

    higher_is_better = True

    def __init__(self, *, nonzero_only: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.nonzero_only = nonzero_only

    def update(self, z: Codes) -> None:
        """Add a batch of codes of shape (..., batch, latent)."""
        measures = _hoyer(checked(z).detach())
        if self.nonzero_only:
            self.total = self.total + measures.sum(dim=-1, dtype=torch.float64)
            nonzero = z.active() > 0 if isinstance(z, SparseCode) else (z != 0).any(dim=-1)
            self.samples = self.samples + nonzero.sum(dim=-1)
        else:
            self.total = self.total + measures.sum(dim=-1, dtype=torch.float64)
            self.samples = self.samples + z.shape[-2]

    def each(self) -> Tensor:
        """The mean of each instance, shape (...), in float64; 0 where all its codes are zero and these are left out."""
        return super().each().nan_to_num(0.0) if self.nonzero_only else super().each()

    def compute(self) -> Tensor:
        """Answer the mean in float64; NaN before the first sample, unless zeros are left out."""
        return super().each().nanmean().nan_to_num(0.0) if self.nonzero_only else self.each().mean()


class MeanActivation(MeanOverSamples):
    """Mean of each latent over samples, shape (..., latent), in the units of the code.

    Args:
        rectified: Take the mean of ReLU(z), which is the rate that the penalty ``kl`` draws to its target; for
            codes that may be negative.
        **kwargs: Arguments of ``torchmetrics.Metric``.
    """

    higher_is_better = None

    def __init__(self, *, rectified: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.rectified = rectified

    def update(self, z: Codes) -> None:
        """Add a batch of codes of shape (..., batch, latent)."""
        of = torch.relu if self.rectified else torch.positive
        self.total = self.total + over_batch(checked(z).detach(), of, torch.float64)
        self.samples = self.samples + z.shape[-2]


class NearZeroFraction(Metric):
    """Fraction of the code's values within ``threshold`` of zero, a scalar in [0, 1]; over instances the mean.

    The question to ask of a code without rectification, whose values are small but never zero. A NaN is not near.

    Args:
        threshold: Largest magnitude that counts as near zero, in the units of the code; 0 counts exact zeros.
        **kwargs: Arguments of ``torchmetrics.Metric``.

    Raises:
        ValueError: If ``threshold`` is negative.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    near: Tensor
    values: Tensor

    def __init__(self, threshold: float = 1e-3, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not threshold >= 0:
            raise ValueError(f"the threshold must not be negative, but it is {threshold}")
        self.threshold = threshold
        self.add_state("near", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("values", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, z: Codes) -> None:
        """Count in a batch of codes of shape (..., batch, latent)."""
        codes = checked(z)
        if isinstance(codes, SparseCode):
            far = codes.places.over_latents(self._are_far(codes.values).long()).sum(dim=-1)
        else:
            far = self._are_far(codes).sum(dim=(-2, -1))
        every = z.shape[-2:].numel()
        self.near = self.near + (every - far)
        self.values = self.values + every

    def _are_far(self, values: Tensor) -> Tensor:
        # Beside a tensor of half precision the threshold would be rounded to it.
        return ~(at_least_float32(values.detach().abs()) <= self.threshold)

    def each(self) -> Tensor:
        """The fraction of each instance, shape (...), NaN before the first sample."""
        return self.near / self.values

    def compute(self) -> Tensor:
        """Answer the fraction, NaN before the first sample."""
        return self.near.sum() / (self.values * self.near.numel())


def _hoyer(z: Codes) -> Tensor:
    """Hoyer's measure (..., batch) of each code."""
    if not isinstance(z, SparseCode):
        return hoyer_sparsity(z)
    values = z.values.double()
    length = z.places.over_latents(values.square()).sqrt()
    return hoyer_of_norms(z.places.over_latents(values.abs()), length, z.shape[-1])
