"""Latents of children that take over what their parents' latents should say."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from ae_lightning.metrics.codes import Codes
from ae_lightning.metrics.entries import Entries, joined
from ae_lightning.metrics.matching import Matching
from ae_lightning.metrics.sparsity import fired

# A latent fires for its truth where it does so on more than half of the samples that have the truth alone.
_DETECTS = 0.5
_COUNTS = ("pair", "pair_hits", "alone", "alone_hits")


class Absorption(Metric):
    """In a hierarchy of truths: how often a parent's latent is silent because a child fires, and who speaks for it.

    A child's latent that holds the parent's direction too saves one active latent on each sample of the child; the
    parent's latent then means "parent but none of these children" (Chanin et al. 2024, "A is for absorption", arXiv
    2409.14507). Where the truth is known no probe is needed:

    `absorption`: of a parent p, its latent in the one-to-one matching and a child c, let r₁ be the part of samples with
    both p and c on which the latent fires, and r₀ that of samples with p and none of its children. The rate of a pair
    is 1 − r₁ / r₀: the part of the expected firings that is missing. Over all pairs, each with the number of its
    samples n,

        absorption = 1 − Σ n r₁ / Σ n r₀,   at least 0,

    over pairs whose latent detects the parent alone, r₀ > ½. 0 is none, 1 that no parent's latent fires with a child.

    `absorbed_share`: of the parent's length on samples with both, Σ y_p ‖g_p‖, the part that latents whose best truth
    is the child write along the parent, Σ z_i w_i · g_p / ‖g_p‖, over all pairs. 0 is none, 1 all; overlap of the true
    directions adds or takes a little.

    Both are NaN without such pairs or samples. Children need not be exclusive. A truth without a latent has no rate,
    but what it lacks is in `absorbed_share`.

    Args:
        match: Which latents stand for which truths.
        parents: The parent (feature,) of each truth, int64; −1 of roots.
        two_sided: A latent fires where it is not zero, instead of above it.
        **kwargs: Arguments of ``torchmetrics.Metric``.

    Raises:
        ValueError: There is another number of parents than of truths.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False
    pair: Tensor
    pair_hits: Tensor
    alone: Tensor
    alone_hits: Tensor
    absorbed: Tensor
    parent_length: Tensor
    latent_of: Tensor
    parents: Tensor
    best: Tensor
    toward_parent: Tensor
    length: Tensor

    def __init__(self, match: Matching, parents: Tensor, *, two_sided: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if parents.shape != (match.features,):
            raise ValueError(f"there are parents of shape {tuple(parents.shape)} for {match.features} truths")
        self.two_sided = two_sided
        shape = match.latent_of.shape
        for name in _COUNTS:
            self.add_state(name, torch.zeros(shape, dtype=torch.int64), dist_reduce_fx="sum")
        for name in ("absorbed", "parent_length"):
            self.add_state(name, torch.zeros(shape, dtype=torch.float64), dist_reduce_fx="sum")
        parents = parents.to(match.best.device)
        self.register_buffer("parents", parents, persistent=False)
        self.register_buffer("latent_of", match.latent_of, persistent=False)
        self.register_buffer("best", match.best, persistent=False)
        self.register_buffer("length", match.directions.double().norm(dim=-1), persistent=False)
        self.register_buffer("toward_parent", _toward_parent(match, parents), persistent=False)

    def update(self, z: Codes | Entries, y: Codes | Entries) -> None:
        """Add a batch of codes (…, batch, latent) and true features (batch, feature) or (…, batch, feature).

        Raises:
            ValueError: They have other numbers of samples or instances.
        """
        codes, truths = joined(z, y)
        truths = truths.where(truths.values > 0)
        hits = self._hits(codes, truths)
        parent = self.parents[truths.columns]
        place, together = truths.find(truths.samples, parent.clamp(min=0))
        together &= parent >= 0
        children, place = truths.where(together), place[together]
        alone = torch.ones_like(hits)
        alone[place] = False
        self.pair += children.sums(torch.ones_like(place, dtype=torch.bool))
        self.pair_hits += children.sums(hits[place])
        self.alone += truths.sums(alone)
        self.alone_hits += truths.sums(alone & hits)
        lengths = truths.values.double() * self.length.view(-1)[truths.rows]
        self.parent_length += children.sums(lengths[place])
        self._add_absorbed(codes, children)

    def _hits(self, codes: Entries, truths: Entries) -> Tensor:
        """Whether the latent of each truth that fires does so too."""
        latent = self.latent_of.view(-1)[truths.rows]
        place, found = codes.find(truths.samples, latent.clamp(min=0))
        fires = fired(codes.values, two_sided=self.two_sided)
        return found & (latent >= 0) & (fires[place] if len(fires) else False)

    def _add_absorbed(self, codes: Entries, children: Entries) -> None:
        """What latents write along the parent of their best truth, where both fire."""
        child = self.best.view(-1)[codes.rows]
        place, found = children.find(codes.samples, child)
        written = codes.values.double() * self.toward_parent.view(-1)[codes.rows]
        sums = torch.zeros_like(self.absorbed).view(-1)
        sums.scatter_add_(0, children.rows[place[found]], written[found])
        self.absorbed += sums.view(self.absorbed.shape)

    def rates(self) -> Tensor:
        """1 − r₁ / r₀ (…, feature) of each child with its parent, float64; NaN where there is no such rate."""
        expected, hits = self._expected()
        return 1 - hits / expected

    def shares(self) -> Tensor:
        """The absorbed share (…, feature) of each child's parent, float64; NaN where they never fire together."""
        return self.absorbed / self.parent_length

    def compute(self) -> dict[str, Tensor]:
        """Answer `absorption`, `absorbed_share`, float64, and `absorption_pairs` that were measured; (…) each."""
        expected, hits = self._expected()
        return {
            "absorption": (1 - hits.nansum(-1) / expected.nansum(-1)).clamp(min=0),
            "absorbed_share": self.absorbed.sum(-1) / self.parent_length.sum(-1),
            "absorption_pairs": expected.isfinite().sum(-1),
        }

    def _expected(self) -> tuple[Tensor, Tensor]:
        """Firings of parents' latents with each child, as many as without it and as counted; NaN where not measured."""
        parent = self.parents.clamp(min=0)
        recall = (self.alone_hits.double() / self.alone)[..., parent]  # NaN where the parent is never alone
        measured = (self.parents >= 0) & (self.pair > 0) & (recall > _DETECTS)
        expected = (self.pair * recall).masked_fill(~measured, torch.nan)
        return expected, self.pair_hits.double().masked_fill(~measured, torch.nan)


def _toward_parent(match: Matching, parents: Tensor) -> Tensor:
    """w_i · g_p / ‖g_p‖ (…, latent) for the parent p of each latent's best truth; 0 where it is a root."""
    parent = parents[match.best]
    directions = torch.nn.functional.normalize(match.directions.double(), dim=-1)
    index = parent.clamp(min=0).unsqueeze(-1).expand(*parent.shape, directions.shape[-1])
    along = (match.rows.double() * directions.gather(-2, index)).sum(-1)
    return along.where(parent >= 0, 0.0)
