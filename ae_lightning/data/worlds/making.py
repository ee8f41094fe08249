"""Makes a world from settings and a seed."""

from __future__ import annotations

import hashlib
import math
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor

from ae_lightning.data.loader import seeded_generator
from ae_lightning.data.worlds.directions import apart
from ae_lightning.data.worlds.magnitudes import Magnitude, chance_above_zero
from ae_lightning.data.worlds.marginals import Presence, approximate_chances
from ae_lightning.data.worlds.trees import Forest, grown, nested
from ae_lightning.data.worlds.world import World
from ae_lightning.errors import ConfigError
from ae_lightning.files import as_json

Law = Literal["constant", "linear", "zipf"]
"""How frequent features are, from the first to the last.

All as frequent as `highest`; evenly from `highest` to `lowest`; or lowest + (highest − lowest) times rank^−exponent,
scaled to go from 1 to 0.
"""

Compensation = Literal["exact", "approximate", "none"]
"""How the chances of features in trees make up for what parents and siblings take away.

`exact`, so that features are present as often as asked; `approximate`, by the formula of SAELens, cut at 1, for worlds
that are the same there; or `none`.
"""

# Offsets of the seed for what is drawn, as in SAELens, whose file of settings tells the seed and not what was drawn.
_STDS, _CORRELATIONS, _DIRECTIONS = 1, 4, 7
# Part of the key of a world that is kept: to be raised when the same settings come to give another one.
_VERSION = 1
# Worlds of fewer features take no time worth saving.
_KEPT = 1000
# The least part of a latent number's variance that is a feature's own.
_LEAST_OWN = 0.01


@dataclass(frozen=True)
class Recipe:
    """What a world is made from; the options of `WorldDataModule` of the same names say more."""

    features: int
    dim: int
    probability: Law | list[float] = "constant"
    highest: float = 0.1
    lowest: float = 0.01
    exponent: float = 1.0
    magnitude: Magnitude = "normal"
    magnitude_mean: float | list[float] = 1.0
    magnitude_std: float | list[float] = 0.0
    magnitude_std_spread: float = 0.0
    correlation_rank: int = 0
    correlation_scale: float = 0.1
    correlations: list[list[float]] | None = None
    roots: int = 0
    branching: int = 4
    depth: int = 1
    share: float | None = None
    parents: list[int] | None = None
    exclusive: bool = True
    scale_by_parent: bool = False
    compensation: Compensation = "exact"
    overlap: float | None = None
    offset: float = 0.0
    noise: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        least = {"features": 1, "dim": 1, "correlation_rank": 0, "roots": 0, "branching": 1, "depth": 1, "seed": 0}
        for option, smallest in least.items():
            if getattr(self, option) < smallest:
                name = "world_seed" if option == "seed" else option
                what = "a world without features is none, so " if option == "features" else ""
                raise ConfigError(f"--data.{name} is {getattr(self, option)}; {what}it must be at least {smallest}.")
        for option in ("noise", "offset", "correlation_scale", "magnitude_std_spread"):
            value = getattr(self, option)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigError(f"--data.{option} is {value:g}; it must be finite and not negative.")
        if self.overlap is not None and not 0 < self.overlap <= 1:
            raise ConfigError(f"--data.overlap is {self.overlap:g}; it must lie between 0 and 1.")
        if self.correlations and self.correlation_rank:
            raise ConfigError("--data.correlations and --data.correlation_rank exclude each other; give one of them.")
        choices = {"magnitude": get_args(Magnitude), "compensation": get_args(Compensation)}
        for option, choice in choices.items():
            if getattr(self, option) not in choice:
                raise ConfigError(f"--data.{option} is {getattr(self, option)!r}; it can be {', '.join(choice)}.")

    def world(self) -> World:
        """Make the world, on the CPU; no random state is touched.

        Raises:
            ConfigError: No such world can be.
        """
        wanted = self._wanted()
        means = _spread_out("magnitude_mean", self.magnitude_mean, self.features)
        stds = self._stds()
        parents = self._parents(wanted)
        exclusive = torch.zeros(self.features, dtype=torch.bool)
        if self.exclusive:
            counts = torch.bincount(parents[parents >= 0], minlength=self.features)
            exclusive = counts > 1
        factor, diag = self._copula()
        chances = self._chances(wanted, Forest(parents), exclusive, means, stds, factor, diag).float()
        directions, offset = self._directions()
        return World(
            directions=directions,
            chances=chances,
            magnitude_means=means,
            magnitude_stds=stds,
            magnitude=self.magnitude,
            offset=offset,
            noise=self.noise,
            correlation_factor=factor,
            correlation_diag=diag,
            parents=parents,
            exclusive=exclusive,
            scale_by_parent=self.scale_by_parent,
            settings=self._settings(chances, approximate_chances(wanted, Forest(parents), exclusive)),
        )

    @property
    def is_costly(self) -> bool:
        """Whether making the world takes so long that it is worth keeping."""
        in_trees = bool(self.roots or self.parents)
        coupled = bool(self.correlation_rank or self.correlations)
        return self.features >= _KEPT and (self.overlap is not None or (in_trees and coupled))

    @property
    def key(self) -> str:
        """A name for what is kept: another one for other settings."""
        settings = {**asdict(self), "version": _VERSION}
        return hashlib.sha256(as_json(settings, sort_keys=True).encode()).hexdigest()[:16]

    def _settings(self, chances: Tensor, approximate: Tensor) -> dict[str, Any]:
        """What SAELens' file of settings can say, where it draws the same from it."""
        found: dict[str, Any] = {"seed": self.seed}
        if self.correlation_rank:
            found["correlation"] = {
                "rank": self.correlation_rank,
                "correlation_scale": self.correlation_scale,
                "seed": None,
            }
        if self.magnitude_std_spread and not isinstance(self.magnitude_std, list):
            law = {"generator_name": "folded_normal", "mean": self.magnitude_std, "std": self.magnitude_std_spread}
            found["std_firing_magnitudes"] = {**law, "min_value": None, "max_value": None}
        if isinstance(self.probability, list) or not torch.equal(chances, approximate.float()):
            return found
        ends = {"max_prob": self.highest, "min_prob": self.lowest}
        found["firing_probability"] = {
            "constant": {"generator_name": "constant", "probability": self.highest},
            "linear": {"generator_name": "linear", **ends},
            "zipf": {"generator_name": "zipfian", "exponent": self.exponent, **ends},
        }[self.probability]
        if self.roots:
            found["hierarchy"] = {
                "total_root_nodes": self.roots,
                "branching_factor": self.branching,
                "max_depth": self.depth,
                "mutually_exclusive_portion": float(self.exclusive),
                "mutually_exclusive_min_depth": 0,
                "mutually_exclusive_max_depth": None,
                "compensate_probabilities": True,
                "scale_children_by_parent": self.scale_by_parent,
            }
        return found

    def _wanted(self) -> Tensor:
        """How probably each feature is to be present, (features,) float32."""
        if isinstance(self.probability, list):
            wanted = torch.tensor(self.probability, dtype=torch.float32)
            if len(wanted) != self.features:
                raise ConfigError(
                    f"--data.probability has {len(wanted)} numbers for {self.features} features; give one for each."
                )
        elif self.probability == "constant":
            wanted = torch.full((self.features,), self.highest)
        elif self.probability == "linear":
            wanted = torch.linspace(self.highest, self.lowest, self.features)
        elif self.probability == "zipf":
            powers = torch.arange(1, self.features + 1, dtype=torch.float32) ** -self.exponent
            part = (powers - powers[-1]) / (powers[0] - powers[-1]).clamp_min(1e-12)
            wanted = self.lowest + (self.highest - self.lowest) * part if self.features > 1 else powers * self.highest
        else:
            raise ConfigError(
                f"--data.probability is {self.probability!r}; it can be {', '.join(get_args(Law))}, or a list."
            )
        if not bool(((wanted >= 0) & (wanted <= 1)).all()):
            worst = next(p for p in wanted.tolist() if not 0 <= p <= 1)
            raise ConfigError(f"A feature is to be present with probability {worst:g}; it must lie between 0 and 1.")
        return wanted

    def _stds(self) -> Tensor:
        stds = _spread_out("magnitude_std", self.magnitude_std, self.features)
        if self.magnitude_std_spread == 0:
            return stds
        drawn = torch.randn(self.features, generator=torch.Generator().manual_seed(self.seed + _STDS))
        return (stds + drawn * self.magnitude_std_spread).abs()

    def _parents(self, wanted: Tensor) -> Tensor:
        if self.parents is not None:
            if len(self.parents) != self.features:
                raise ConfigError(
                    f"--data.parents has {len(self.parents)} numbers for {self.features} features; give one for each."
                )
            return torch.tensor(self.parents)
        if self.share is None:
            return grown(self.features, self.roots, self.branching, self.depth)
        return nested(wanted, self.roots, self.branching, self.depth, self.share)

    def _copula(self) -> tuple[Tensor, Tensor] | tuple[None, None]:
        if self.correlations:
            return given_correlations(self.correlations, self.features)
        if not self.correlation_rank:
            return None, None
        generator = torch.Generator().manual_seed(self.seed + _CORRELATIONS)
        factor = torch.randn(self.features, self.correlation_rank, generator=generator) * self.correlation_scale
        shared = factor.square().sum(1)
        factor[1 - shared < _LEAST_OWN] *= torch.sqrt((1 - _LEAST_OWN) / shared[1 - shared < _LEAST_OWN]).unsqueeze(1)
        return factor, 1 - factor.square().sum(1)

    def _chances(
        self,
        wanted: Tensor,
        forest: Forest,
        exclusive: Tensor,
        means: Tensor,
        stds: Tensor,
        factor: Tensor | None,
        diag: Tensor | None,
    ) -> Tensor:
        if self.compensation == "none":
            return wanted.double()
        if self.compensation == "approximate":
            return approximate_chances(wanted, forest, exclusive)
        positive = chance_above_zero(self.magnitude, means, stds)
        return Presence(forest, exclusive, positive, factor, diag).chances_for(wanted)

    def _directions(self) -> tuple[Tensor, Tensor | None]:
        # A stream of their own: a dictionary of the same seed and as many latents would start from these directions.
        generator = seeded_generator(self.seed, _DIRECTIONS)
        directions = torch.randn(self.features, self.dim, generator=generator)
        directions /= directions.norm(dim=1, keepdim=True)
        offset = torch.randn(self.dim, generator=generator)
        if self.overlap is not None:
            directions = apart(directions, self.overlap)
        return directions, offset / offset.norm() * self.offset if self.offset else None


def given_correlations(triples: list[list[float]], features: int) -> tuple[Tensor, Tensor]:
    """A factor F (features, rank) and d (features,) of correlations that are given.

    Args:
        triples: Two features each, and the correlation of their latent numbers.
        features: How many there are.

    Raises:
        ConfigError: A triple is none, or no numbers are correlated so.
    """
    pairs: dict[tuple[int, int], float] = {}
    for triple in triples:
        first, second, correlation = triple if len(triple) == 3 else (-1, -1, 0.0)
        i, j = int(first), int(second)
        if (i, j) != (first, second) or not 0 <= min(i, j) < max(i, j) < features or not abs(correlation) <= 1:
            raise ConfigError(
                f"--data.correlations has {triple}; each entry is two different features below {features} and their "
                "correlation, between -1 and 1."
            )
        pairs[min(i, j), max(i, j)] = correlation
    named = sorted({feature for pair in pairs for feature in pair})
    at = {feature: place for place, feature in enumerate(named)}
    matrix = torch.eye(len(named), dtype=torch.float64)
    for (i, j), correlation in pairs.items():
        matrix[at[i], at[j]] = matrix[at[j], at[i]] = correlation
    values, vectors = torch.linalg.eigh(matrix)
    least = float(values[0])
    if least <= 1e-6:
        raise ConfigError(
            f"--data.correlations are no correlations: their matrix is not positive definite, its smallest eigenvalue "
            f"being {least:.2g}; make them weaker."
        )
    factor, diag = torch.zeros(features, len(named)), torch.ones(features)
    factor[named] = (vectors * (values - least).clamp_min(0).sqrt()).float()
    diag[named] = least
    return factor, diag


def _spread_out(option: str, given: float | list[float], features: int) -> Tensor:
    """One number for all features, two for the first and the last with the others evenly between, or one for each."""
    numbers = torch.tensor(given if isinstance(given, list) else [given], dtype=torch.float32)
    if len(numbers) == features:
        return numbers
    if len(numbers) == 1:
        return numbers.expand(features).clone()
    if len(numbers) == 2:
        return torch.linspace(float(numbers[0]), float(numbers[1]), features)
    raise ConfigError(
        f"--data.{option} has {len(numbers)} numbers for {features} features; give one, two for the first and the last "
        "feature, or one for each."
    )
