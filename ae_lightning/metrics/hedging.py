"""Latents that mix in what tends to come, or not to come, with their truth."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchmetrics import Metric

from ae_lightning.metrics.codes import Codes
from ae_lightning.metrics.entries import Entries
from ae_lightning.metrics.matching import Matching

# Company shorter than this part of a typical sample is rounding.
_ROUNDING = 1e-5


class Hedging(Metric):
    """How far a latent leans toward the company of its truth: the cosine with the direction in which it pulls.

    A dictionary narrower than the features that occur together merges parts of them, since that lowers the squared
    error (Chanin, Dulka and Garriga-Alonso 2025, "Feature hedging", arXiv 2505.11756). The company of truth j is the
    part of

        E[x | j fires] − E[x] = (1 − p_j) E[y_j | j] g_j + Σ_{k ≠ j} (E[y_k | j fires] − E[y_k]) g_k

    at a right angle to g_j: each other feature by how much more there is of it with j, less where it is anticorrelated.
    With its unit vector c_j, and ŵ_i the unit row of the latent of j in the one-to-one matching, turned to g_j,

        hedging = ŵ_i · c_j,   mean over truths that have a latent and fired.

    It is Σ_{k ≠ j} cos(ŵ_i, g_k) over correlated features with the sign of their correlation, each weighted by how much
    it adds to x, and without what the overlap of g_j and g_k makes by itself. Range [−1, 1]: 0 is none, and what
    independent features give but for ±1/√d; above 0 the latent mixes in correlated features, or takes off
    anticorrelated ones; below 0 it takes off its company. In a tree, a parent is the company of its children and they
    its own: latents that absorb count too.

    Nothing as large as features × features is kept; features × input numbers are, in float64.

    Args:
        match: Which latents stand for which truths.
        **kwargs: Arguments of ``torchmetrics.Metric``.
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False
    beside: Tensor
    firings: Tensor
    total: Tensor
    squares: Tensor
    samples: Tensor

    def __init__(self, match: Matching, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._match = match
        # The first update broadcasts the scalars: what instances share is kept once.
        for name in ("beside", "total", "squares"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        for name in ("firings", "samples"):
            self.add_state(name, torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, y: Codes | Entries, x: Tensor) -> None:
        """Add a batch of true features (batch, feature) and samples (batch, input), or (…, batch, …) of each instance.

        Raises:
            ValueError: They have other numbers of samples or instances.
        """
        truths, x = Entries.of(y), x.detach().double()
        if truths.shape[:-1] != x.shape[:-1]:
            raise ValueError(f"true features {tuple(truths.shape[:-1])} are not of samples {tuple(x.shape[:-1])}")
        truths = truths.where(truths.values > 0)
        if self.beside.ndim == 0:
            self.beside = self.beside.new_zeros(*truths.instances, truths.width, x.shape[-1])
        rows, order = truths.rows.sort()
        present, counts = rows.unique_consecutive(return_counts=True)
        ends = counts.cumsum(0)
        sums = F.embedding_bag(truths.samples[order], x.reshape(-1, x.shape[-1]), ends - counts, mode="sum")
        self.beside.view(-1, x.shape[-1]).index_add_(0, present, sums)
        self.firings = self.firings + truths.sums(torch.ones_like(truths.rows, dtype=torch.bool))
        self.total = self.total + x.sum(-2)
        self.squares = self.squares + x.square().sum()
        self.samples = self.samples + x.shape[-2]

    def company(self) -> Tensor:
        """The company (…, feature, input) of each truth, as unit vectors; 0 where it has none."""
        true = F.normalize(self._match.directions.to(self.beside.device).double(), dim=-1)
        pull = self.beside / self.firings.clamp(min=1).unsqueeze(-1) - (self.total / self.samples).unsqueeze(-2)
        pull = pull - (pull * true).sum(-1, keepdim=True) * true
        length = pull.norm(dim=-1, keepdim=True)
        typical = (self.squares / self.samples / max(self.total.shape[:-1].numel(), 1)).sqrt()
        known = (self.firings > 0).unsqueeze(-1) & (length > _ROUNDING * typical)
        return torch.where(known, pull / length, 0.0)

    def per_truth(self) -> Tensor:
        """The cosine (…, feature) of each truth's latent with its company; NaN where either is missing."""
        match, company = self._match.to(self.beside.device), self.company()
        index = match.latent_of.clamp(min=0).unsqueeze(-1).expand(*match.latent_of.shape, company.shape[-1])
        rows = F.normalize(match.rows.double(), dim=-1).gather(-2, index)
        leaning = (rows * company).sum(-1) * match.cosine_of.sign()
        known = (match.latent_of >= 0) & company.any(-1)
        return leaning.masked_fill(~known, torch.nan)

    def compute(self) -> Tensor:
        """Answer the mean over truths that have one, (…), float64; NaN where none has."""
        return self.per_truth().nanmean(-1)
