"""Draws which features are present, and how strongly, at a cost that follows those that are."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from ae_lightning.data.worlds.magnitudes import draw_magnitudes
from ae_lightning.data.worlds.marginals import thresholds_of
from ae_lightning.data.worlds.world import World

# Features that are present more often than this are asked one by one in each sample.
_FREQUENT = 0.5
# Where shared factors change the logarithm of a rate by more, its bound would be too far above it.
_MOST_TILT = 2.0
# Rates of so many (sample, feature) pairs are held at once.
_AT_ONCE = 2**20

Found = tuple[Tensor, Tensor]
"""Samples (kept,) and features (kept,) of what is present, int64."""


class Sampler:
    """Draws from a world on one device.

    Features without a parent come first. A feature with probability p is present where a Poisson process of rate
    −log(1 − p) has a point, so that one process over all (sample, feature) pairs goes from each present feature to the
    next. Where candidates are coupled, its rate given the shared factors z is bounded: the logarithm of −log(1 − p(z))
    is concave in F · z, and lies below its tangent. Points are kept in proportion to the rate. Children are drawn for
    the parents that are present.

    Args:
        world: What to draw from.
        device: Where to.
    """

    def __init__(self, world: World, device: torch.device) -> None:
        self.world = world
        self.device = device
        self._directions = world.directions.to(device)
        self._offset = None if world.offset is None else world.offset.to(device)
        self._means, self._stds = world.magnitude_means.to(device), world.magnitude_stds.to(device)
        self._chances = world.chances.float().to(device)
        children, begins = world.forest.children
        self._children, self._begins = children.to(device), begins.to(device)
        self._exclusive = world.exclusive.to(device)
        self._levels = len(world.forest.families)
        top = (world.parents < 0) & (world.chances > 0)
        asked, coupled = top & (world.chances > _FREQUENT), torch.zeros_like(top)
        if world.correlation_factor is not None and world.correlation_diag is not None:
            coupled = top & (world.correlation_factor != 0).any(1)
            rate, rise = self._set_copula(world.correlation_factor, world.correlation_diag, world.chances)
            tilt = rise * world.correlation_factor.double().norm(dim=1)
            asked |= coupled & ((rate * (tilt.square() / 2).exp() > _FREQUENT) | (tilt > _MOST_TILT))
            self._coupled = (coupled & ~asked).nonzero().flatten().to(device)
            self._log_rate = rate.log().float().to(device)[self._coupled]
            self._rise = rise.float().to(device)[self._coupled]
            self._slopes = (self._factor[self._coupled] * self._rise.unsqueeze(-1)).mT.contiguous()
        self._asked = asked.nonzero().flatten().to(device)
        free = (top & ~asked & ~coupled).nonzero().flatten()
        self._free = free.to(device)
        self._edges = (-torch.log1p(-world.chances[free].double())).cumsum(0).to(device)

    def draw(self, samples: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw features of some samples.

        Returns:
            The places (kept,) of those present, sample · features + feature, in rising order, and their magnitudes
            (kept,) float32, above zero.
        """
        z, tops = None, []
        if self.world.correlation_factor is not None:
            z = torch.randn(samples, self._factor.shape[1], generator=generator, device=self.device)
            if len(self._coupled):
                tops.append(self._by_bounds(z, generator))
        if len(self._asked):
            tops.append(self._one_by_one(samples, z, generator))
        if len(self._free) or not tops:
            tops.append(self._by_rates(samples, generator))
        sample, feature = (torch.cat(part) for part in zip(*tops, strict=True))
        value = self._magnitudes(feature, generator)
        above = value > 0
        found = [(sample[above], feature[above], value[above])]
        for _ in range(self._levels):
            found.append(self._below(*found[-1], z, generator))
        sample, feature, value = (torch.cat(part) for part in zip(*found, strict=True))
        places, order = (sample * self.world.features + feature).sort()
        return places, value[order]

    def sums(self, places: Tensor, values: Tensor, samples: int, generator: torch.Generator) -> Tensor:
        """What features that `draw` gave add up to, with the offset and noise: (samples, dim) float32."""
        features = self.world.features
        begins = torch.searchsorted(places, torch.arange(samples + 1, device=self.device) * features)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Sparse (CSR tensor support|invariant checks)")
            shape = (samples, features)
            rows = torch.sparse_csr_tensor(begins, places % features, values, shape, check_invariants=False)
            x = rows @ self._directions
        if self._offset is not None:
            x += self._offset
        if self.world.noise > 0:
            x += self.world.noise * torch.randn(x.shape, generator=generator, device=self.device)
        return x

    def _set_copula(self, factor: Tensor, diag: Tensor, chances: Tensor) -> tuple[Tensor, Tensor]:
        """Keep the copula, and tell the tangents where F · z is zero: the rates, and by what their logarithms rise."""
        spread, thresholds = diag.double().sqrt(), thresholds_of(chances)
        self._factor = factor.float().to(self.device)
        self._spread, self._thresholds = spread.float().to(self.device), thresholds.float().to(self.device)
        at = thresholds / spread
        absent = torch.special.log_ndtr(at)
        mills = torch.exp(-at.square() / 2 - absent) / (2 * torch.pi) ** 0.5
        return -absent, mills / (spread * -absent)

    def _chance(self, sample: Tensor, feature: Tensor, z: Tensor | None) -> Tensor:
        """How probably features are candidates in samples whose shared factors are known."""
        if z is None:
            return self._chances[feature]
        shared = (self._factor[feature] * z[sample]).sum(-1)
        return torch.special.ndtr((shared - self._thresholds[feature]) / self._spread[feature])

    def _one_by_one(self, samples: int, z: Tensor | None, generator: torch.Generator) -> Found:
        """Candidates of features that are frequent, or that the shared factors all but decide."""
        asked = self._asked
        chance = self._chances[asked]
        if z is not None:
            shared = z @ self._factor[asked].mT
            chance = torch.special.ndtr((shared - self._thresholds[asked]) / self._spread[asked])
        drawn = torch.rand(samples, len(asked), generator=generator, device=self.device)
        sample, at = (drawn < chance).nonzero(as_tuple=True)
        return sample, asked[at]

    def _by_rates(self, samples: int, generator: torch.Generator) -> Found:
        """Candidates of independent features, by going from point to point of one process."""
        width = len(self._free)
        rate = float(self._edges[-1]) if width else 1.0
        point = self._points(samples * rate if width else 0.0, generator)
        sample = (point / rate).long().clamp_(max=samples - 1)
        at = torch.searchsorted(self._edges, point - sample * rate, right=True).clamp_(max=max(0, width - 1))
        once = _first_of(sample * width + at)
        return sample[once], self._free[at[once]]

    def _by_bounds(self, z: Tensor, generator: torch.Generator) -> Found:
        """Candidates of coupled features: points at a bound of their rates, kept in proportion."""
        width, parts = len(self._coupled), []
        for start in range(0, len(z), rows := max(1, _AT_ONCE // width)):
            bound = torch.addmm(self._log_rate, z[start : start + rows], self._slopes)
            edges = bound.exp().cumsum(1, dtype=torch.float64)
            ends = edges[:, -1].cumsum(0)
            point = self._points(float(ends[-1]), generator)
            edges += (ends - edges[:, -1]).unsqueeze(1)
            place = torch.searchsorted(edges.flatten(), point, right=True).clamp_(max=edges.numel() - 1)
            at = place % width
            log_bound, feature = bound.flatten()[place], self._coupled[at]
            shared = (log_bound - self._log_rate[at]) / self._rise[at]
            rate = -torch.special.log_ndtr((self._thresholds[feature] - shared) / self._spread[feature])
            kept = place[torch.rand(len(place), generator=generator, device=self.device) * log_bound.exp() < rate]
            kept = kept[_first_of(kept)]
            parts.append((start + kept // width, self._coupled[kept % width]))
        sample, feature = (torch.cat(part) for part in zip(*parts, strict=True))
        return sample, feature

    def _points(self, end: float, generator: torch.Generator) -> Tensor:
        """Points in [0, end) of a Poisson process of rate 1, in rising order, float64."""
        count = int(end + 10 * end**0.5) + 20  # ten standard deviations: it never falls short
        gaps = torch.empty(count, dtype=torch.float64, device=self.device).exponential_(generator=generator)
        point = gaps.cumsum(0)
        return point[: int(torch.searchsorted(point, end))]

    def _below(
        self, sample: Tensor, feature: Tensor, value: Tensor, z: Tensor | None, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Samples, features and values of the children of features that are present."""
        begin = self._begins[feature]
        count = self._begins[feature + 1] - begin
        parent = torch.arange(len(feature), device=self.device).repeat_interleave(count)
        before = count.cumsum(0) - count
        child = self._children[torch.arange(len(parent), device=self.device) + (begin - before)[parent]]
        chance = self._chance(sample[parent], child, z)
        kept = torch.rand(len(child), generator=generator, device=self.device) < chance
        parent, child = parent[kept], child[kept]
        own = self._magnitudes(child, generator)
        kept = own > 0
        parent, child, own = parent[kept], child[kept], own[kept]
        kept = self._drawn(parent, self._exclusive[feature[parent]], len(feature), generator)
        parent, child, own = parent[kept], child[kept], own[kept]
        if self.world.scale_by_parent:
            own = own * value[parent] / self._means[feature[parent]]
        return sample[parent], child, own

    def _drawn(self, group: Tensor, exclusive: Tensor, groups: int, generator: torch.Generator) -> Tensor:
        """Which entries stay, where of each group whose entries are exclusive one is drawn."""
        key = torch.rand(len(group), generator=generator, device=self.device, dtype=torch.float64)
        best = key.new_zeros(groups).scatter_reduce_(0, group, key, "amax")
        return (key == best[group]) | ~exclusive

    def _magnitudes(self, feature: Tensor, generator: torch.Generator) -> Tensor:
        return draw_magnitudes(self.world.magnitude, self._means[feature], self._stds[feature], generator)


def _first_of(places: Tensor) -> Tensor:
    """Which of rising places differ from the one before."""
    first = torch.ones_like(places, dtype=torch.bool)
    first[1:] = places[1:] != places[:-1]
    return first
