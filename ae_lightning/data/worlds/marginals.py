"""How often features are present, given how often they are candidates; and the reverse.

A feature is present where it is a candidate, its magnitude is above zero, its parent is present, and it is drawn from
the siblings that could be present, if they exclude each other. Candidates are coupled by a Gaussian copula: feature i
is one where F_i · z + √d_i η_i exceeds a threshold t_i, with z ~ N(0, 1) shared by all features and η_i its own.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from ae_lightning.data.worlds.trees import Forest
from ae_lightning.errors import ConfigError

# Points of the shared factors over which rates are averaged, in the end and at first, and numbers in work at once.
_POINTS = 2**13
_FEW_POINTS = 2**9
_AT_ONCE = 2**22
# Rounds of the search for candidates' probabilities, and the relative errors at which it ends, and goes over to more
# points.
_ROUNDS = 2000
_CLOSE, _NEARLY = 1e-4, 1e-3


class Presence:
    """Computes how often features are present.

    Args:
        forest: Who is whose child.
        exclusive: Features (features,) bool whose children exclude each other.
        positive: How probably the magnitude of each feature is above zero, (features,) float64.
        factor: F (features, rank), or None for independent candidates.
        diag: d (features,), or None.
    """

    def __init__(
        self, forest: Forest, exclusive: Tensor, positive: Tensor, factor: Tensor | None, diag: Tensor | None
    ) -> None:
        self.forest = forest
        self.exclusive = exclusive
        self.positive = positive.double()
        # Features of trees alone: all others are present as often as they are candidates with a magnitude.
        self._in_trees = forest.members
        self._trees = forest.part(self._in_trees)
        self._sole = exclusive[self._in_trees]
        self._able_if = self.positive[self._in_trees]
        self._factor = None if factor is None else factor[self._in_trees]
        self._spread = None if diag is None else diag[self._in_trees].sqrt()

    def of(self, chances: Tensor) -> Tensor:
        """Probabilities (features,) float64 that features are present, of those (features,) that they are candidates.

        Exact where candidates are independent; else, for features with a parent, a mean over 8,192 quasi-random
        points of the shared factors.
        """
        return self._present(chances, _POINTS)

    def _present(self, chances: Tensor, count: int) -> Tensor:
        found = chances.double() * self.positive
        if not len(self._in_trees):
            return found
        total, points = torch.zeros(len(self._in_trees), dtype=torch.float64), 0
        for able in self._able(chances[self._in_trees].double(), count):
            present = able
            for parents, children in self._trees.families:
                present = self._with_family(present, able, parents, children)
            total += present.sum(0, dtype=torch.float64)
            points += len(able)
        inner = self._trees.parents >= 0
        found[self._in_trees[inner]] = (total / points)[inner]
        return found

    def chances_for(self, probabilities: Tensor) -> Tensor:
        """Probabilities of candidates with which features are present as often as asked.

        Raises:
            ConfigError: No such candidates exist.
        """
        wanted = probabilities.double()
        self._check(wanted)
        # Nothing is lost where a feature never is: it needs no candidates.
        rates = torch.where(self.forest.parents < 0, wanted, self._given_parent(wanted)) / self.positive
        chances = rates.clamp(max=1.0)
        points, close = (_FEW_POINTS, _NEARLY) if self._factor is not None else (_POINTS, _CLOSE)
        for _ in range(_ROUNDS):
            found = self._present(chances, points)
            off = torch.where(wanted > 0, wanted / found.clamp_min(1e-300), 1.0)
            if float((off - 1).abs().max()) < close:
                if points == _POINTS:
                    return chances
                points, close = _POINTS, _CLOSE
            chances = (chances * off).clamp(max=1.0)
        worst = int((off - 1).abs().argmax())
        raise ConfigError(
            f"Feature {worst} is to be present with probability {wanted[worst]:.3g}, but its tree allows "
            f"{found[worst]:.3g} at most; lower its probability or raise its parent's."
        )

    def _check(self, wanted: Tensor) -> None:
        if bool((wanted > self.positive).any()):
            worst = int((wanted - self.positive).argmax())
            raise ConfigError(
                f"Feature {worst} is to be present with probability {wanted[worst]:.3g}, but its magnitude is above "
                f"zero with probability {self.positive[worst]:.3g} only; lower --data.magnitude_std."
            )
        rates = self._given_parent(wanted)
        for parents, children in self.forest.families:
            asked = torch.cat((rates, rates.new_zeros(1)))[children]
            sums = torch.where(self.exclusive[parents], asked.sum(-1), asked.amax(-1))
            if bool((sums > 1).any()):
                at = int(sums.argmax())
                parent, many = int(parents[at]), bool(self.exclusive[parents[at]])
                what = "exclusive children are together" if many else "child is"
                raise ConfigError(
                    f"Feature {parent} is present with probability {wanted[parent]:.3g}, but its {what} to be present "
                    f"with probability {float(wanted[parent] * sums[at]):.3g}; children need their parent, so lower "
                    "their probabilities, or cut what cannot be with --data.compensation approximate."
                )

    def _given_parent(self, probabilities: Tensor) -> Tensor:
        """How often a feature is to be present where its parent is."""
        parents = self.forest.parents
        above = torch.where(parents < 0, 1.0, probabilities[parents.clamp_min(0)])
        return torch.where(probabilities > 0, probabilities / above, 0.0)

    def _able(self, chances: Tensor, count: int) -> Iterator[Tensor]:
        """Probability (points, features in trees) of a candidate with a magnitude, by points of shared factors."""
        if self._factor is None or self._spread is None:
            yield (chances * self._able_if).unsqueeze(0)
            return
        thresholds, able_if = thresholds_of(chances).float(), self._able_if.float()
        for z in _normal_points(count, self._factor.shape[1]).split(max(1, _AT_ONCE // len(chances))):
            yield torch.special.ndtr((z @ self._factor.mT - thresholds) / self._spread) * able_if

    def _with_family(self, present: Tensor, able: Tensor, parents: Tensor, children: Tensor) -> Tensor:
        """The same with the children of some parents, whose own presence is known, present as they can be."""
        padded = torch.cat((able, able.new_zeros(len(able), 1)), dim=1)
        chance = padded[:, children]  # (points, parents, most)
        wins = torch.where(self._sole[parents].unsqueeze(-1), _win(chance), 1.0)
        found = torch.cat((present, present.new_zeros(len(present), 1)), dim=1)
        found[:, children.flatten()] = (present[:, parents].unsqueeze(-1) * chance * wins).flatten(1)
        return found[:, :-1]


def thresholds_of(chances: Tensor) -> Tensor:
    """What a standard normal number exceeds with given probabilities, float64."""
    return -torch.special.ndtri(chances.double())


def approximate_chances(probabilities: Tensor, forest: Forest, exclusive: Tensor) -> Tensor:
    """Probabilities of candidates by the formula of SAELens, cut at 1.

    p / p_parent, and of siblings that exclude each other times 1 + Σ p_other / p_parent. Features are then present
    less often than asked where siblings add up to much of their parent, or to more.
    """
    chances = probabilities.double().clone()
    wanted = torch.cat((chances, chances.new_zeros(1)))
    for parents, children in forest.families:
        above, asked = wanted[parents].unsqueeze(-1), wanted[children]
        rivals = torch.where(exclusive[parents].unsqueeze(-1), asked.sum(-1, keepdim=True) - asked, 0.0)
        there = children < len(chances)
        chances[children[there]] = (asked / above * (1 + rivals / above))[there]
    return chances.clamp(max=1.0)


def _win(chance: Tensor) -> Tensor:
    """How probably each of some candidates (…, most) is drawn among those that are there, 1 / (1 + others) on average.

    It is the integral over u in [0, 1] of the product of 1 − a + a u over all others, a polynomial in u that a
    Gaussian rule integrates exactly.
    """
    most = chance.shape[-1]
    nodes, weights = np.polynomial.legendre.leggauss(max(1, math.ceil(most / 2)))
    won = torch.zeros_like(chance)
    for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
        factors = 1 - chance * (1 - node)
        won += weight * factors.prod(-1, keepdim=True) / factors
    return won


@functools.cache
def _normal_points(points: int, rank: int) -> Tensor:
    """Quasi-random points (points, rank) of a standard normal distribution, with their negatives."""
    engine = torch.quasirandom.SobolEngine(rank, scramble=True, seed=0)
    half = engine.draw(points // 2, dtype=torch.float64).clamp(1e-10, 1 - 1e-10)
    normal = torch.special.ndtri(half).float()
    return torch.cat((normal, -normal))
