"""Draws which features are present, and how strongly."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ae_lightning.data.worlds.guide import Guide
from ae_lightning.data.worlds.kept import first_of, places_of, select
from ae_lightning.data.worlds.magnitudes import draw_magnitudes
from ae_lightning.data.worlds.marginals import thresholds_of
from ae_lightning.data.worlds.world import World
from ae_lightning.nn.sparse_code import Places, SparseCode
from ae_lightning.nn.sparse_products import decode_sparse

# Features that are present more often than this are looked at in each sample.
_FREQUENT = 0.5
# So many (sample, feature) pairs are looked at together, which lie in the processor's cache then.
_AT_ONCE = 2**18
# The largest float32 numbers below 128, and what makes 1 of twice that less 255: 256 would be no byte.
_HALF = 128 - 2**-17
_WHOLE = 1 + 2**-16

Found = tuple[Tensor, Tensor]
"""Samples (kept,) and features (kept,) of what is present, int64."""


class Sampler:
    """Draws from a world on one device.

    Features without a parent come first. A feature with probability p is present where a Poisson process of rate
    −log(1 − p) has a point, so that one process over all (sample, feature) pairs goes from each present feature to the
    next. Features that are coupled, or frequent, are looked at in each sample: a random byte is held against the
    probability given the shared factors, and only pairs for which it does not exceed that get a finer random number.
    Children are drawn for the parents that are present.

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
        self._depth = len(world.forest.families)
        factor, diag = world.correlation_factor, world.correlation_diag
        if factor is None or diag is None:
            factor, diag = torch.zeros(world.features, 0), torch.ones(world.features)
        # Given shared factors z, a feature is a candidate with probability (1 + erf(slopes · z + level)) / 2.
        spread = (2 * diag.double()).sqrt()
        self._slopes = (factor.double() / spread.unsqueeze(-1)).float().to(device)
        self._level = (-thresholds_of(world.chances) / spread).float().to(device)
        top = (world.parents < 0) & (world.chances > 0)
        watched = top & ((world.chances > _FREQUENT) | (factor != 0).any(1))
        self._watched = watched.nonzero().flatten().to(device)
        self._watched_slopes = self._slopes[self._watched].mT.contiguous()
        self._watched_level = self._level[self._watched]
        self._half = torch.tensor(_HALF, device=device)
        free = (top & ~watched).nonzero().flatten()
        self._free = free.to(device)
        self._guide = Guide(-torch.log1p(-world.chances[free].double()).to(device)) if len(free) else None

    def draw(self, samples: int, generator: torch.Generator) -> SparseCode:
        """Draw features (samples, features), of which those present have values above zero."""
        z = torch.randn(samples, self._slopes.shape[1], generator=generator, device=self.device)
        tops = []
        if len(self._watched):
            tops.append(self._by_bytes(z, generator))
        if self._guide is not None or not tops:
            tops.append(self._by_rates(samples, generator))
        sample, feature = _joined(tops)
        value = self._magnitudes(feature, generator)
        found = [select(value > 0, sample, feature, value)]
        for _ in range(self._depth):
            sample, feature, value = found[-1]
            found.append(self._below(sample, feature, value, z, generator))
        sample, feature, value = _joined(found)
        if len(tops) + self._depth > 1:
            order = self._order(sample, feature, samples)
            sample, feature, value = (part.index_select(0, order) for part in (sample, feature, value))
        offsets = sample.new_zeros(samples + 1)
        torch.cumsum(torch.bincount(sample, minlength=samples), 0, out=offsets[1:])
        return SparseCode(value, Places(feature, offsets, (samples, self.world.features)))

    def sums(self, features: SparseCode, generator: torch.Generator) -> Tensor:
        """What features (samples, features) add up to, with the offset and noise: (samples, dim) float32."""
        x = decode_sparse(features, self._directions)
        if self._offset is not None:
            x += self._offset
        if self.world.noise > 0:
            x += self.world.noise * torch.randn(x.shape, generator=generator, device=self.device)
        return x

    def _by_bytes(self, z: Tensor, generator: torch.Generator) -> Found:
        """Candidates among features that are coupled or frequent.

        With a random byte b and a random fraction v, (b + v) / 256 is a uniform number, below p where v < 256 p − b.
        """
        width, parts = len(self._watched), []
        for start in range(0, len(z), rows := max(1, _AT_ONCE // width)):
            scaled = torch.addmm(self._watched_level, z[start : start + rows], self._watched_slopes).erf_().flatten()
            torch.add(self._half, scaled, alpha=_HALF, out=scaled)
            byte = self._bytes(len(scaled), generator)
            whole = scaled.to(torch.int32).to(torch.uint8)  # directly it takes twice as long
            place = places_of(byte <= whole)
            rest = scaled.index_select(0, place) - byte.index_select(0, place)
            fraction = torch.rand(len(place), generator=generator, device=self.device)
            (place,) = select(fraction < rest * _WHOLE, place)
            parts.append(place + start * width)
        place = torch.cat(parts)
        sample = torch.div(place, width, rounding_mode="floor")
        return sample, self._watched.index_select(0, place - sample * width)

    def _bytes(self, count: int, generator: torch.Generator) -> Tensor:
        """Random bytes (count,) uint8."""
        words = torch.empty(-(-count // 8), dtype=torch.int64, device=self.device)
        return words.random_(-(2**63), None, generator=generator).view(torch.uint8)[:count]

    def _by_rates(self, samples: int, generator: torch.Generator) -> Found:
        """Candidates of independent features, by going from point to point of one process."""
        if self._guide is None:
            return self._free, self._free  # which are none
        rate = self._guide.length
        point = self._points(samples * rate, generator)
        sample = (point / rate).floor_().clamp_(max=samples - 1)  # float64: of integers the product is float32
        at = self._guide.at(point - sample * rate)
        sample = sample.long()
        sample, at = select(first_of(sample * len(self._free) + at), sample, at)
        return sample, self._free.index_select(0, at)

    def _points(self, end: float, generator: torch.Generator) -> Tensor:
        """Points in [0, end) of a Poisson process of rate 1, in rising order, float64."""
        count = int(end + 10 * end**0.5) + 20  # ten standard deviations: it never falls short
        gaps = torch.empty(count, dtype=torch.float64, device=self.device).exponential_(generator=generator)
        point = gaps.cumsum(0)
        return point[: int(torch.searchsorted(point, end))]

    def _below(
        self, sample: Tensor, feature: Tensor, value: Tensor, z: Tensor, generator: torch.Generator
    ) -> tuple[Tensor, ...]:
        """Samples, features and values of the children of features that are present."""
        begin = self._begins.index_select(0, feature)
        count = self._begins.index_select(0, feature + 1) - begin
        parent = torch.arange(len(feature), device=self.device).repeat_interleave(count)
        begin -= count.cumsum(0) - count
        child = torch.arange(len(parent), device=self.device) + begin.index_select(0, parent)
        child = self._children.index_select(0, child)
        chance = self._chance(sample.index_select(0, parent), child, z)
        kept = torch.rand(len(child), generator=generator, device=self.device) < chance
        parent, child = select(kept, parent, child)
        own = self._magnitudes(child, generator)
        parent, child, own = select(own > 0, parent, child, own)
        of = feature.index_select(0, parent)
        kept = self._drawn(parent, self._exclusive.index_select(0, of), len(feature), generator)
        parent, of, child, own = select(kept, parent, of, child, own)
        if self.world.scale_by_parent:
            own = own * value.index_select(0, parent) / self._means.index_select(0, of)
        return sample.index_select(0, parent), child, own

    def _chance(self, sample: Tensor, feature: Tensor, z: Tensor) -> Tensor:
        """How probably features are candidates in samples whose shared factors are known."""
        if not z.shape[1]:
            return self._chances.index_select(0, feature)
        shared = (self._slopes.index_select(0, feature) * z.index_select(0, sample)).sum(-1)
        return torch.erfc(-shared - self._level.index_select(0, feature)) / 2

    def _drawn(self, group: Tensor, exclusive: Tensor, groups: int, generator: torch.Generator) -> Tensor:
        """Which entries stay, where of each group whose entries are exclusive one is drawn."""
        key = torch.rand(len(group), generator=generator, device=self.device, dtype=torch.float64)
        best = key.new_zeros(groups).scatter_reduce_(0, group, key, "amax")
        return (key == best.index_select(0, group)) | ~exclusive

    def _magnitudes(self, feature: Tensor, generator: torch.Generator) -> Tensor:
        means, stds = self._means.index_select(0, feature), self._stds.index_select(0, feature)
        return draw_magnitudes(self.world.magnitude, means, stds, generator)

    def _order(self, sample: Tensor, feature: Tensor, samples: int) -> Tensor:
        """The order (kept,) of entries by sample, and within one by feature."""
        place = sample * self.world.features + feature
        narrow = samples * self.world.features < 2**31  # which sorts faster
        return (place.int() if narrow else place).argsort()


def _joined(parts: Sequence[tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    return parts[0] if len(parts) == 1 else tuple(torch.cat(part) for part in zip(*parts, strict=True))
