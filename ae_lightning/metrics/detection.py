"""Latents as detectors of true features: precision, recall and F1 of each latent, and of each truth."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from ae_lightning.metrics.codes import Codes
from ae_lightning.metrics.entries import Entries, joined
from ae_lightning.metrics.matching import Matching
from ae_lightning.metrics.sparsity import fired

# Latents that are weighed against all truths together.
_CHUNK = 256


class JointSums(Metric):
    """Sums over samples for each pair of a latent and a truth; the subclasses say what to make of them.

    The sums are exact, and cost what latents and truths *fire* together: L0 of the code times L0 of the truth for each
    sample. They take 12 bytes for each pair: 0.8 GB of 16,384 truths and 4,096 latents.

    Args:
        two_sided: A latent fires where it is not zero, instead of above it.
        **kwargs: Arguments of ``torchmetrics.Metric``.
    """

    is_differentiable = False
    full_state_update = False
    together: Tensor
    products: Tensor
    firings: Tensor
    truth_firings: Tensor
    sums: Tensor
    squares: Tensor
    truth_sums: Tensor
    truth_squares: Tensor
    samples: Tensor

    def __init__(self, *, two_sided: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.two_sided = two_sided
        # The first update broadcasts the scalars, so that no sizes have to be told beforehand.
        self.add_state("together", torch.zeros((), dtype=torch.int32), dist_reduce_fx="sum")
        for name in ("firings", "truth_firings", "samples"):
            self.add_state(name, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        for name in ("products", "sums", "squares", "truth_sums", "truth_squares"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")

    def update(self, z: Codes | Entries, y: Codes | Entries) -> None:
        """Add a batch.

        Args:
            z: Codes (…, batch, latent).
            y: True features (batch, feature) that all instances share, or (…, batch, feature). They fire above zero.

        Raises:
            ValueError: They have other numbers of samples or instances.
        """
        codes, truths = joined(z, y)
        fires, truth_fires = fired(codes.values, two_sided=self.two_sided), truths.values > 0
        self._add_pairs(codes, truths, fires, truth_fires)
        values, truth_values = codes.values.double(), truths.values.double()
        self.firings = self.firings + codes.sums(fires)
        self.truth_firings = self.truth_firings + truths.sums(truth_fires)
        self.sums = self.sums + codes.sums(values)
        self.squares = self.squares + codes.sums(values.square())
        self.truth_sums = self.truth_sums + truths.sums(truth_values)
        self.truth_squares = self.truth_squares + truths.sums(truth_values.square())
        self.samples = self.samples + codes.shape[-2]

    def _add_pairs(self, codes: Entries, truths: Entries, fires: Tensor, truth_fires: Tensor) -> None:
        if self.together.ndim == 0:
            shape = (*codes.instances, codes.width, truths.width)
            self.together = self.together.new_zeros(shape)
            self.products = self.products.new_zeros(shape)
        rows = codes.rows * truths.width
        values, truth_values = codes.values.double(), truths.values.double()
        together, products = self.together.view(-1), self.products.view(-1)
        one = self.together.new_ones(())
        all_fire = bool(fires.all() & truth_fires.all())  # as in all but codes of either sign
        for mine, theirs in codes.beside(truths):
            place = rows[mine].add_(truths.columns[theirs])
            both = one.expand(len(place)) if all_fire else (fires[mine] & truth_fires[theirs]).int()
            together.scatter_add_(0, place, both)
            products.scatter_add_(0, place, values[mine].mul_(truth_values[theirs]))


class Detection(JointSums):
    """Whether a latent fires when its truth does: precision, recall and F1.

    *Per latent* (SynthSAEBench, arXiv 2602.14687; SAELens): latent i detects its best truth j by |cosine|. With TP
    samples on which both fire, FP on which only the latent does, and FN on which only the truth does,

        precision = TP / (TP + FP),   recall = TP / (TP + FN),   F1 = 2 TP / (2 TP + FP + FN),

    each in [0, 1], 0 where it is not defined, mean over all latents: a dead latent lowers all three. A code sparser
    than the truth trades recall for precision.

    *Per truth*: the largest F1 of any latent with that truth, whatever the directions say, mean over truths that fired;
    a truth that nothing detects counts 0. It asks what is missing, where the other asks what a latent means.

    Args:
        match: Which latents stand for which truths.
        **kwargs: Arguments of `JointSums`.
    """

    higher_is_better = True
    best: Tensor

    def __init__(self, match: Matching, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.register_buffer("best", match.best, persistent=False)

    def per_latent(self) -> dict[str, Tensor]:
        """`precision`, `recall` and `f1` (…, latent) of each latent as a detector of its best truth, float64."""
        both = self.together.gather(-1, self.best.unsqueeze(-1)).squeeze(-1).double()
        return _rates(both, self.firings.double(), self.truth_firings.gather(-1, self.best).double())

    def per_truth(self) -> dict[str, Tensor]:
        """`precision`, `recall` and `f1` (…, feature) of the `detector` with the largest F1, its latent, int64.

        NaN of a truth that never fired.
        """
        best = torch.zeros(self.truth_firings.shape, dtype=torch.float64, device=self.firings.device)
        detector = torch.zeros_like(self.truth_firings)
        for start in range(0, self.firings.shape[-1], _CHUNK):
            part = slice(start, start + _CHUNK)
            fires = self.firings[..., part].unsqueeze(-1) + self.truth_firings.unsqueeze(-2)
            f1, latent = (2 * self.together[..., part, :].double() / fires.clamp(min=1)).max(-2)
            detector = torch.where(f1 > best, latent + start, detector)
            best = torch.maximum(best, f1)
        both = self.together.gather(-2, detector.unsqueeze(-2)).squeeze(-2).double()
        rates = _rates(both, self.firings.gather(-1, detector).double(), self.truth_firings.double())
        unseen = self.truth_firings == 0
        return {**{name: rate.masked_fill(unseen, torch.nan) for name, rate in rates.items()}, "detector": detector}

    def compute(self) -> dict[str, Tensor]:
        """Answer `precision`, `recall`, `f1`, means over latents, and `truth_f1`, the mean over truths; (…) each."""
        means = {name: rate.mean(-1) for name, rate in self.per_latent().items()}
        return {**means, "truth_f1": self.per_truth()["f1"].nanmean(-1)}


def _rates(both: Tensor, fires: Tensor, truth_fires: Tensor) -> dict[str, Tensor]:
    return {
        "precision": both / fires.clamp(min=1),
        "recall": both / truth_fires.clamp(min=1),
        "f1": 2 * both / (fires + truth_fires).clamp(min=1),
    }
