"""Which latent stands for which true feature."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ae_lightning.metrics.recovery import cosine_matrix, matched_latents
from ae_lightning.nn.precision import at_least_float32

STANDS_FOR = 0.5**0.5
"""A latent stands for a feature where |cosine| is above this: more than half of its squared length lies along it."""


@dataclass(frozen=True)
class Matching:
    """Latents and true features, matched by the cosines of their directions.

    Two matchings, since two questions are asked. *The best truth of a latent* may be that of several. *The latent of a
    truth* comes from the one-to-one matching with the largest sum of |cosine|, that of `mcc`; where there are fewer
    latents than truths, some have none. A row of zeros has cosine 0 with every truth, so that its best is the first.

    The matching is exact (`scipy.optimize.linear_sum_assignment`, shortest augmenting paths, on the CPU). Of 16,384
    truths and 4,096 latents it takes seconds and 1 GB beside the cosines' 0.25 GB: benchmarks/matching.py.

    Rows that are not finite match nothing: of their instance no truth has a latent, and cosines are NaN.

    Args:
        rows: Decoder rows (…, latent, input), float32 or wider.
        directions: True directions (feature, input), or (…, feature, input) of each instance's own.
        best: The best truth (…, latent) of each latent, int64.
        best_cosine: Its cosine (…, latent), with its sign.
        latent_of: The latent (…, feature) of each truth, int64; −1 where it has none.
        cosine_of: Its cosine (…, feature), with its sign; 0 where it has none.
    """

    rows: Tensor
    directions: Tensor
    best: Tensor
    best_cosine: Tensor
    latent_of: Tensor
    cosine_of: Tensor

    @classmethod
    def of(cls, rows: Tensor, directions: Tensor) -> Matching:
        """Match decoder rows (…, latent, input) with directions (feature, input) or (…, feature, input).

        Raises:
            ValueError: The shapes do not fit each other.
        """
        rows, directions = at_least_float32(rows.detach()), at_least_float32(directions.detach())
        cosines = cosine_matrix(rows, directions)
        best = cosines.abs().argmax(-1)
        lead, (latents, features) = cosines.shape[:-2], cosines.shape[-2:]
        latent_of = torch.full((lead.numel(), features), -1)
        cosine_of = torch.zeros(lead.numel(), features, dtype=cosines.dtype)
        for instance, each in enumerate(cosines.reshape(-1, latents, features).cpu()):
            if not each.isfinite().all():
                cosine_of[instance] = torch.nan
                continue
            latent, feature = matched_latents(each)
            latent_of[instance, feature] = latent
            cosine_of[instance, feature] = each[latent, feature]
        return cls(
            rows,
            directions.expand(*lead, *directions.shape[-2:]),
            best,
            cosines.gather(-1, best.unsqueeze(-1)).squeeze(-1),
            latent_of.view(*lead, features).to(rows.device),
            cosine_of.view(*lead, features).to(rows.device),
        )

    def to(self, device: torch.device | str) -> Matching:
        """The same on a device."""
        return Matching(**{name: value.to(device) for name, value in vars(self).items()})

    @property
    def instances(self) -> torch.Size:
        """The leading dimensions."""
        return self.best.shape[:-1]

    @property
    def latents(self) -> int:
        """How many latents there are."""
        return self.best.shape[-1]

    @property
    def features(self) -> int:
        """How many truths there are."""
        return self.latent_of.shape[-1]

    @property
    def uniqueness(self) -> Tensor:
        """See `ae_lightning.metrics.dictionaries.uniqueness`, (…)."""
        found = torch.zeros_like(self.latent_of, dtype=torch.bool)
        distinct = found.scatter_(-1, self.best, True).sum(-1).double()
        return (distinct / self.latents).masked_fill(~self.cosine_of.isfinite().all(-1), torch.nan)

    @property
    def splitting(self) -> Tensor:
        """See `ae_lightning.metrics.dictionaries.splitting`, (…)."""
        stands = (self.best_cosine.abs() > STANDS_FOR).long()
        count = torch.zeros_like(self.latent_of).scatter_add_(-1, self.best, stands)
        return count.sum(-1).double() / (count > 0).sum(-1)

    @property
    def mcc_matched(self) -> Tensor:
        """See `ae_lightning.metrics.dictionaries.mcc_matched`, (…)."""
        return self.cosine_of.double().abs().sum(-1) / min(self.latents, self.features)
