"""A world: features with known directions, frequencies, magnitudes, correlations and trees."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, get_args

import torch
from torch import Tensor

from ae_lightning.data.worlds.directions import largest_overlaps
from ae_lightning.data.worlds.magnitudes import Magnitude, chance_above_zero
from ae_lightning.data.worlds.marginals import Presence
from ae_lightning.data.worlds.trees import Forest
from ae_lightning.errors import ConfigError


@dataclass(frozen=True)
class World:
    """Features that samples are sums of: x = Σ value · direction + offset + noise · ε; all tensors are on the CPU.

    A feature is a candidate with its chance. It is present where it is one, its magnitude is above zero, and its
    parent, if it has one, is present; of siblings that exclude each other and could be present, one is drawn, each as
    probably. Candidates may be coupled by a Gaussian copula: feature i is one where F_i · z + √d_i η_i, a standard
    normal number, is large.

    Source: SynthSAEBench (arXiv 2602.14687), and SAELens' `synthetic` package.

    Args:
        directions: Unit rows (features, dim).
        chances: How probably each feature is a candidate, (features,) float64; without trees, and with magnitudes that
            are always above zero, how probably it is present.
        magnitude_means: (features,).
        magnitude_stds: (features,), of no use to exponential magnitudes.
        magnitude: The law of magnitudes.
        offset: (dim,), or None.
        noise: Standard deviation of noise in each number of a sample.
        correlation_factor: F (features, rank), or None for independent candidates.
        correlation_diag: d (features,), with F Fᵀ + diag(d) having ones on its diagonal, or None.
        parents: The parent (features,) int64 of each feature, -1 for those without one; None for no trees.
        exclusive: Features (features,) bool whose children exclude each other; None for none.
        scale_by_parent: Whether a child's magnitude is multiplied by its parent's value, divided by the parent's mean.
        settings: What it was made with, in words of SAELens' file of settings.

    Raises:
        ConfigError: There are no features, a probability is out of range, a tree has a cycle, or correlations are
            impossible.
    """

    directions: Tensor
    chances: Tensor
    magnitude_means: Tensor
    magnitude_stds: Tensor
    magnitude: Magnitude = "normal"
    offset: Tensor | None = None
    noise: float = 0.0
    correlation_factor: Tensor | None = None
    correlation_diag: Tensor | None = None
    parents: Tensor = None  # type: ignore[assignment]
    exclusive: Tensor = None  # type: ignore[assignment]
    scale_by_parent: bool = False
    settings: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.parents is None:
            object.__setattr__(self, "parents", torch.full((self.features,), -1))
        if self.exclusive is None:
            object.__setattr__(self, "exclusive", torch.zeros(self.features, dtype=torch.bool))
        check_world(self)

    @property
    def features(self) -> int:
        """How many there are."""
        return len(self.directions)

    @property
    def dim(self) -> int:
        """Numbers in a sample."""
        return self.directions.shape[1]

    @cached_property
    def forest(self) -> Forest:
        """The trees."""
        return Forest(self.parents)

    @property
    def depth(self) -> Tensor:
        """How many ancestors each feature has, (features,) int64."""
        return self.forest.depth

    @cached_property
    def positive(self) -> Tensor:
        """How probably each feature's magnitude is above zero, (features,) float64."""
        return chance_above_zero(self.magnitude, self.magnitude_means, self.magnitude_stds)

    @cached_property
    def presence(self) -> Presence:
        """Computes how often features are present."""
        return Presence(self.forest, self.exclusive, self.positive, self.correlation_factor, self.correlation_diag)

    @cached_property
    def probabilities(self) -> Tensor:
        """How probably each feature is present, (features,) float64."""
        return self.presence.of(self.chances)

    @property
    def mean_l0(self) -> float:
        """How many features are present in a sample on average."""
        return float(self.probabilities.sum())

    @cached_property
    def overlaps(self) -> Tensor:
        """The largest |cos| of each direction with another one, (features,)."""
        return largest_overlaps(self.directions)

    def correlated_with(self, feature: int) -> Tensor:
        """Correlations (features,) of a feature's latent normal number with those of all; 1 with itself."""
        if self.correlation_factor is None:
            found = torch.zeros(self.features)
        else:
            found = self.correlation_factor @ self.correlation_factor[feature]
        found[feature] = 1.0
        return found


def check_world(world: World) -> None:
    """Raise ConfigError unless a world's parts are possible."""
    if world.features < 1 or world.dim < 1:
        raise ConfigError("A world without features, or without dimensions, is none; give it at least one of each.")
    chances = world.chances
    if not bool(((chances >= 0) & (chances <= 1)).all()):
        worst = next(p for p in chances.tolist() if not 0 <= p <= 1)
        raise ConfigError(f"A feature's probability is {worst:g}; probabilities lie between 0 and 1.")
    if world.magnitude not in get_args(Magnitude):
        raise ConfigError(f"--data.magnitude is {world.magnitude!r}; it can be {', '.join(get_args(Magnitude))}.")
    if not bool((world.magnitude_means > 0).all()) or not bool((world.magnitude_stds >= 0).all()):
        raise ConfigError("Magnitudes have a mean above 0 and a standard deviation of at least 0 for each feature.")
    if world.correlation_diag is not None and not bool((world.correlation_diag > 0).all()):
        raise ConfigError("Correlations of features are not positive definite; make them weaker.")
    _ = world.depth  # which finds cycles
