"""All that came out of a lab, for its page: numbers, worlds, and the fits behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ae_lightning.data.worlds.world import World
from ae_lightning.evaluation.lab.leaderboard import Leaderboard
from ae_lightning.evaluation.lab.scores import Scores
from ae_lightning.metrics.matching import Matching
from ae_lightning.models.shallow import ShallowAutoencoder
from ae_lightning.plots.lab_scores import Kinds
from ae_lightning.run.run import Run

# Truths are put into so many kinds by their frequency, or correlation.
_BINS = 8
_CHUNK = 1024


@dataclass
class Results:
    """What a lab's fits and baselines reached.

    Args:
        about: What the lab was asked for.
        models: Names of the models, in their order.
        scores: By seed: of each model's fit, and of the baselines.
        runs: Fits by model and seed.
        worlds: By seed.
    """

    about: Mapping[str, Any]
    models: Sequence[str]
    scores: Mapping[int, Sequence[Scores]]
    runs: Mapping[tuple[str, int], Run]
    worlds: Mapping[int, World]
    matches: dict[tuple[str, int], Matching] = field(default_factory=dict)

    @cached_property
    def board(self) -> Leaderboard:
        """The leaderboard."""
        return Leaderboard({seed: [row for each in of for row in each.rows] for seed, of in self.scores.items()})

    @cached_property
    def shown_l0(self) -> float:
        """The L0 nearest to that of the first world, which pictures of single dictionaries are of."""
        true = next(iter(self.worlds.values())).mean_l0
        return min(self.board.l0s, key=lambda l0: abs(l0 - true))

    def truths(self, model: str, seed: int, name: str) -> np.ndarray | None:
        """A number of each truth (features,), as a model has it at the shown L0; None where it was not measured."""
        for scores in self.scores[seed]:
            for row, values in zip(scores.rows, scores.truths.get(name, ()), strict=False):
                if (row["model"], row["asked_l0"]) == (model, self.shown_l0):
                    return values
        return None

    def match(self, model: str, seed: int) -> Matching:
        """The latents of a model at the shown L0, matched with the truths of its world."""
        if (model, seed) not in self.matches:
            autoencoder = self.runs[model, seed].model
            assert isinstance(autoencoder, ShallowAutoencoder)
            place = next(
                place
                for scores in self.scores[seed]
                for place, row in enumerate(scores.rows)
                if (row["model"], row["asked_l0"]) == (model, self.shown_l0)
            )
            rows = autoencoder.writing(autoencoder.decoder_vectors).detach()[place]
            self.matches[model, seed] = Matching.of(rows, self.worlds[seed].directions)
        return self.matches[model, seed]

    def kinds(self, name: str) -> list[Kinds]:
        """Means of a number over kinds of truths, of all seeds together: by frequency, depth and correlation."""
        seeds = [seed for seed in self.scores if all((model, seed) in self.runs for model in self.models)]
        if not seeds:
            return []
        pooled = {model: self._pooled(model, seeds, name) for model in self.models}
        values = {model: of for model, of in pooled.items() if of is not None}
        worlds = [self.worlds[seed] for seed in seeds]
        frequency = np.concatenate([world.probabilities.numpy() for world in worlds])
        depth = np.concatenate([world.depth.numpy() for world in worlds])
        found = [_by_quantile("probability of the truth", frequency, values, is_logarithmic=True)]
        if depth.any():
            found.append(_by_value("depth in its tree", depth, values))
        if all(world.correlation_factor is not None for world in worlds):
            correlation = np.concatenate([largest_correlations(world).numpy() for world in worlds])
            found.append(_by_quantile("its largest |correlation|", correlation, values))
        return found

    def _pooled(self, model: str, seeds: Sequence[int], name: str) -> np.ndarray | None:
        each = [self.truths(model, seed, name) for seed in seeds]
        known = [values for values in each if values is not None]
        return np.concatenate(known) if len(known) == len(each) else None


def largest_correlations(world: World) -> Tensor:
    """The largest |correlation| (features,) of each feature's latent normal number with another's."""
    factor = world.correlation_factor
    if factor is None:
        return torch.zeros(world.features)
    found = []
    for start in range(0, world.features, _CHUNK):
        part = (factor[start : start + _CHUNK] @ factor.mT).abs()
        own = torch.arange(len(part))
        part[own, own + start] = 0
        found.append(part.amax(-1))
    return torch.cat(found)


def _by_quantile(name: str, by: np.ndarray, values: Mapping[str, np.ndarray], is_logarithmic: bool = False) -> Kinds:
    """Kinds of as many truths each; those of equal numbers are of one kind."""
    edges = np.unique(np.quantile(by, np.linspace(0, 1, _BINS + 1)[1:-1]))
    kind = np.searchsorted(edges, by, side="left")
    return _means(name, by, kind, values, is_logarithmic and bool((by > 0).all()))


def _by_value(name: str, by: np.ndarray, values: Mapping[str, np.ndarray]) -> Kinds:
    return _means(name, by, by, values, False)


def _means(
    name: str, by: np.ndarray, kind: np.ndarray, values: Mapping[str, np.ndarray], is_logarithmic: bool
) -> Kinds:
    members = [kind == each for each in np.unique(kind)]
    return Kinds(
        name,
        [float(np.median(by[of])) for of in members],
        is_logarithmic,
        {model: [_mean(numbers[of]) for of in members] for model, numbers in values.items()},
    )


def _mean(numbers: np.ndarray) -> float:
    """The mean of those that are known; NaN where none is."""
    known = numbers[np.isfinite(numbers)]
    return float(known.mean()) if known.size else float("nan")
