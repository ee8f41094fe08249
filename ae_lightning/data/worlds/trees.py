"""A forest of features: children that are silent without their parent."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import torch
from torch import Tensor

from ae_lightning.errors import ConfigError


class Forest:
    """Who is whose child, level by level.

    Args:
        parents: The parent (features,) int64 of each feature, -1 for those without one.

    Raises:
        ConfigError: A parent is no feature, or a feature is its own ancestor.
    """

    def __init__(self, parents: Tensor) -> None:
        if bool(((parents < -1) | (parents >= len(parents))).any()):
            worst = next(p for p in parents.tolist() if not -1 <= p < len(parents))
            raise ConfigError(f"A feature's parent is {worst}, but features are numbered from 0 to {len(parents) - 1}.")
        self.parents = parents

    @cached_property
    def depth(self) -> Tensor:
        """How many ancestors each feature has, (features,) int64."""
        depth = torch.zeros_like(self.parents)
        above = self.parents
        for _ in range(len(self.parents)):
            if bool((above < 0).all()):
                return depth
            depth += above >= 0
            above = torch.where(above >= 0, self.parents[above], above)
        circle = int((above >= 0).nonzero()[0])
        raise ConfigError(f"Feature {circle} of the tree is its own ancestor; the parents of a tree go in no circle.")

    @cached_property
    def members(self) -> Tensor:
        """Features that are a parent or have one, in rising order."""
        owned = self.parents >= 0
        found = owned.clone()
        found[self.parents[owned]] = True
        return found.nonzero().flatten()

    def part(self, features: Tensor) -> Forest:
        """The forest of some features, in rising order, of which each one's parent is one; they are numbered anew."""
        parents = self.parents[features]
        return Forest(torch.where(parents < 0, parents, torch.searchsorted(features, parents.clamp_min(0))))

    @cached_property
    def children(self) -> tuple[Tensor, Tensor]:
        """Children grouped by their parent (children,), and where each feature's begin, (features + 1,), int64."""
        owned = (self.parents >= 0).nonzero().flatten()
        of = self.parents[owned]
        begins = torch.zeros(len(self.parents) + 1, dtype=torch.int64)
        begins[1:] = torch.bincount(of, minlength=len(self.parents)).cumsum(0)
        return owned[of.argsort(stable=True)], begins

    @cached_property
    def families(self) -> list[tuple[Tensor, Tensor]]:
        """For each depth but the last: parents (p,), and children (p, most), padded with the number of features."""
        order, begins = self.children
        counts = begins.diff()
        found = []
        for level in range(int(self.depth.max()) if len(self.depth) else 0):
            parents = ((self.depth == level) & (counts > 0)).nonzero().flatten()
            column = torch.arange(int(counts[parents].max()))
            there = column < counts[parents].unsqueeze(-1)
            at = torch.where(there, begins[parents].unsqueeze(-1) + column, 0)
            found.append((parents, torch.where(there, order[at], len(self.parents))))
        return found


def grown(features: int, roots: int, branching: int, depth: int) -> Tensor:
    """Parents (features,) of a forest that takes features in their order, level by level, until there are none left.

    It is the order of SAELens: roots come first, then all their children, then all of those.

    Args:
        features: How many there are; those beyond the forest have no parent.
        roots: Trees.
        branching: Children of each feature that is less deep than `depth`.
        depth: Ancestors of a leaf.
    """
    parents = torch.full((features,), -1)
    level, end = torch.arange(min(roots, features)), min(roots, features)
    for _ in range(depth):
        of = level.repeat_interleave(branching)[: features - end]
        parents[end : end + len(of)] = of
        level, end = torch.arange(end, end + len(of)), end + len(of)
    return parents


def nested(probabilities: Tensor, roots: int, branching: int, depth: int, share: float) -> Tensor:
    """Parents (features,) of a forest in which siblings are together at most `share` as frequent as their parent.

    Roots are the most frequent features. Level by level, from the most frequent parent on, a child is the most frequent
    feature left that is rare enough.

    Args:
        probabilities: How often each feature is present, (features,).
        roots: Trees.
        branching: Children of each feature that is less deep than `depth`.
        depth: Ancestors of a leaf.
        share: What siblings may add up to, as a part of their parent's probability.

    Raises:
        ConfigError: There are not enough features that are rare enough.
    """
    order: Sequence[int] = probabilities.argsort(descending=True, stable=True).tolist()
    chance = probabilities.tolist()
    parents = torch.full((len(order),), -1)
    level, left = list(order[:roots]), list(order[roots:])
    for _ in range(depth):
        below: list[int] = []
        for parent in sorted(level, key=lambda feature: -chance[feature]):
            most = share * chance[parent] / branching
            start = next((i for i, feature in enumerate(left) if chance[feature] <= most), len(left))
            taken = left[start : start + branching]
            if len(taken) < branching:
                raise ConfigError(
                    f"Feature {parent} is present with probability {chance[parent]:.3g}, and no {branching} features "
                    "are left that are rare enough to be its children; lower --data.roots, --data.depth or "
                    "--data.lowest."
                )
            parents[torch.tensor(taken)] = parent
            del left[start : start + branching]
            below += taken
        level = below
    return parents
