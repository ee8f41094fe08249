"""Whether codes and reconstructions are too small."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from ae_lightning.metrics.codes import Codes, MeanOverSamples
from ae_lightning.metrics.entries import Entries, joined
from ae_lightning.metrics.matching import STANDS_FOR, Matching
from ae_lightning.nn.precision import at_least_float32

# Samples shorter than this have no ratio, as in SAELens.
_SHORTEST = 1e-6


class ShrinkageSlope(Metric):
    """What part of a truth's length its latent writes: 1 is right, less is shrinkage.

    For a truth j and its latent i in the one-to-one matching, where |cosine| is above √½, it is the slope of the
    regression through the origin

        Σ z_i ‖w_i‖ sign(cos) · y_j ‖g_j‖ / Σ (y_j ‖g_j‖)²

    over samples on which neither is zero, so that samples that the latent misses do not count as shrinkage. With an
    intercept, a constant that is taken off each code would go unseen. It shows the bias of penalties on the size of a
    code (L1), which TopK and its like do not have. Unbounded; a latent that fires for others
    too has its slope lowered by its cosine.

    Args:
        match: Which latents stand for which truths.
        **kwargs: Arguments of ``torchmetrics.Metric``.
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False
    products: Tensor
    squares: Tensor
    latent_of: Tensor
    gain: Tensor
    length: Tensor

    def __init__(self, match: Matching, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in ("products", "squares"):
            self.add_state(name, torch.zeros(match.latent_of.shape, dtype=torch.float64), dist_reduce_fx="sum")
        norms = match.rows.double().norm(dim=-1).gather(-1, match.latent_of.clamp(min=0))
        kept = (match.latent_of >= 0) & (match.cosine_of.abs() > STANDS_FOR)
        self.register_buffer("latent_of", match.latent_of.where(kept, -1), persistent=False)
        self.register_buffer("gain", norms * match.cosine_of.sign(), persistent=False)
        self.register_buffer("length", match.directions.double().norm(dim=-1), persistent=False)

    def update(self, z: Codes | Entries, y: Codes | Entries) -> None:
        """Add a batch of codes (…, batch, latent) and true features (batch, feature) or (…, batch, feature).

        Raises:
            ValueError: They have other numbers of samples or instances.
        """
        codes, truths = joined(z, y)
        latent = self.latent_of.view(-1)[truths.rows]
        place, found = codes.find(truths.samples, latent.clamp(min=0))
        truths, place = truths.where(found & (latent >= 0)), place[found & (latent >= 0)]
        written = codes.values[place].double() * self.gain.view(-1)[truths.rows]
        true = truths.values.double() * self.length.view(-1)[truths.rows]
        self.products += truths.sums(written * true)
        self.squares += truths.sums(true.square())

    def per_truth(self) -> Tensor:
        """The slope (…, feature) of each truth; NaN where it has no latent, or never fires with it."""
        return self.products / self.squares

    def compute(self) -> Tensor:
        """Answer the mean over truths that have one, (…), float64; NaN where none has."""
        return self.per_truth().nanmean(-1)


class NormRatio(MeanOverSamples):
    """Mean ‖x̂‖ / ‖x‖ over samples: 1 is right, less is shrinkage.

    Source: SynthSAEBench (arXiv 2602.14687), SAELens' shrinkage. Any reconstruction that leaves something out is
    shorter, so that a low L0 lowers it too; `ShrinkageSlope` looks at what is there. An offset of the data, which the
    decoder bias learns, draws it toward 1. Samples shorter than 1e-6 are left out. The answer
    is (…), float64, NaN before the first sample.

    Args:
        **kwargs: Arguments of ``torchmetrics.Metric``.
    """

    higher_is_better = None

    def update(self, x: Tensor, x_hat: Tensor) -> None:
        """Add a batch: x (batch, input), or (…, batch, input) as x_hat has it."""
        norms, written = (at_least_float32(part.detach()).norm(dim=-1).double() for part in (x, x_hat))
        counts = norms > _SHORTEST
        self.total = self.total + torch.where(counts, written / norms.clamp(min=_SHORTEST), 0.0).sum(-1)
        self.samples = self.samples + counts.sum(-1)
