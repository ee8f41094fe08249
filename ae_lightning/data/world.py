"""Sums of known features: what a dictionary finds in them can be compared with the truth."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from ae_lightning.data.generated import GeneratedDataModule
from ae_lightning.data.worlds.files import SETTINGS
from ae_lightning.data.worlds.magnitudes import Magnitude
from ae_lightning.data.worlds.making import Compensation, Law, Recipe
from ae_lightning.data.worlds.sampling import Sampler
from ae_lightning.data.worlds.world import World
from ae_lightning.errors import ConfigError, DataError, Notice
from ae_lightning.nn.sparse_code import Places, SparseCode
from ae_lightning.training.batch import LabeledBatch


class WorldDataModule(GeneratedDataModule):
    """Samples x = Σ value · direction + offset + noise · ε of a known world, and the features' values as `y`.

    A world has more features than dimensions, of which few are present in a sample. How often each is present, how
    strongly, with which others, and under which parent is known: see `ae_lightning.data.worlds.World`. It follows from
    the options and `world_seed`; the samples follow from `seed`.

    `y` of training batches, of which training itself makes no use, is a `SparseCode` (batch, features), or (instances,
    batch, features). In validation and test sets it is a tensor (batch, features), or (batch, instances, features), up
    to 4,096 features, and beyond a `SparseCode` too.

    Source: SynthSAEBench (arXiv 2602.14687).

    Args:
        features: Features of the world.
        dim: Numbers in a sample.
        probability: How often features are present, from the first to the last: constant for `highest`; linear from
            `highest` to `lowest`; zipf for lowest + (highest − lowest) · rank^−exponent, scaled to go from 1 to 0; or a
            list with a probability for each.
        highest: Largest probability.
        lowest: Smallest probability, of linear and zipf.
        exponent: Exponent of zipf.
        magnitude: How large a present feature is, N being a standard normal number: normal for mean + std N, where that
            is above 0; folded_normal for |mean + std N|; exponential.
        magnitude_mean: The mean: one for all features, two for the first and the last with the others evenly between,
            or one for each.
        magnitude_std: The standard deviation, likewise; 0 for constant magnitudes.
        magnitude_std_spread: Standard deviation of normal numbers that are added to `magnitude_std`, one for each
            feature, of which the absolute value is taken.
        correlation_rank: Factors that features share, by which they are correlated; 0 for none.
        correlation_scale: Standard deviation of how much of a factor is in a feature's latent number.
        correlations: Entries [first, second, correlation] of two features' latent numbers, in place of shared factors.
        roots: Trees; 0 for none.
        branching: Children of each feature that is no leaf.
        depth: Ancestors of a leaf.
        share: Makes siblings so rare that they are together at most so large a part of their parent's probability; null
            takes features in their order, level by level.
        parents: The parent of each feature, -1 for none, in place of roots, branching, depth and share.
        exclusive: Whether siblings exclude each other.
        scale_by_parent: Whether a child's magnitude is multiplied by its parent's value over the parent's mean.
        compensation: Whether features in trees are drawn so much more often that they are present as often as
            asked: exact; approximate, by the formula of SAELens, cut where it is impossible; or none.
        overlap: Mean over directions of the largest |cos| with another; null for random directions.
        offset: Length of a vector that is added to each sample.
        noise: Standard deviation of noise that is added to each number.
        world_seed: Seed of the world.
        world_folder: Folder of a saved world, by `World.save` or by SAELens, in place of all options above; null
            makes one.
        root: Folder of the data, by default the environment variable AE_LIGHTNING_DATA, or else `data`; worlds that
            take long to make are kept in its `worlds`.
        instances: Instances of a model that get samples of their own, as many as `--model.instances`; None where all
            share them.
        batch_size: Samples in a training batch, per device.
        eval_batch_size: Samples in a validation or test batch, per device.
        steps_per_epoch: Training batches an epoch, after which the validation set is measured.
        num_val: Validation samples.
        num_test: Test samples.
        seed: Seed of all samples.

    Raises:
        ConfigError: An option is out of range, or no such world can be.
    """

    #: Most features whose values are given with their zeros in validation and test sets.
    DENSE = 4096

    def __init__(
        self,
        features: int = 128,
        dim: int = 32,
        probability: Law | list[float] = "constant",
        highest: float = 0.1,
        lowest: float = 0.01,
        exponent: float = 1.0,
        magnitude: Magnitude = "normal",
        magnitude_mean: float | list[float] = 1.0,
        magnitude_std: float | list[float] = 0.0,
        magnitude_std_spread: float = 0.0,
        correlation_rank: int = 0,
        correlation_scale: float = 0.1,
        correlations: list[list[float]] | None = None,
        roots: int = 0,
        branching: int = 4,
        depth: int = 1,
        share: float | None = None,
        parents: list[int] | None = None,
        exclusive: bool = True,
        scale_by_parent: bool = False,
        compensation: Compensation = "exact",
        overlap: float | None = None,
        offset: float = 0.0,
        noise: float = 0.0,
        world_seed: int = 0,
        world_folder: str | None = None,
        root: str | None = None,
        instances: int | None = None,
        batch_size: int = 1024,
        eval_batch_size: int = 1024,
        steps_per_epoch: int = 500,
        num_val: int = 4096,
        num_test: int = 8192,
        seed: int = 0,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, steps_per_epoch, num_val, num_test, seed)
        if instances is not None and instances < 1:
            raise ConfigError(f"--data.instances is {instances}; it must be at least 1.")
        self._instances = instances
        self.recipe = Recipe(
            features=features,
            dim=dim,
            probability=probability,
            highest=highest,
            lowest=lowest,
            exponent=exponent,
            magnitude=magnitude,
            magnitude_mean=magnitude_mean,
            magnitude_std=magnitude_std,
            magnitude_std_spread=magnitude_std_spread,
            correlation_rank=correlation_rank,
            correlation_scale=correlation_scale,
            correlations=correlations,
            roots=roots,
            branching=branching,
            depth=depth,
            share=share,
            parents=parents,
            exclusive=exclusive,
            scale_by_parent=scale_by_parent,
            compensation=compensation,
            overlap=overlap,
            offset=offset,
            noise=noise,
            seed=world_seed,
        )
        self._folder = None if world_folder is None else Path(world_folder).expanduser()
        self._root = Path(root or os.environ.get("AE_LIGHTNING_DATA") or "data").expanduser()
        self._world: World | None = None
        self._samplers: dict[torch.device, Sampler] = {}

    @property
    def instances(self) -> int | None:
        """Instances that have samples of their own."""
        return self._instances

    @property
    def features(self) -> int:
        """Features of the world."""
        return self.recipe.features if self._folder is None else self.world.features

    @property
    def dim(self) -> int:
        """Numbers in a sample."""
        return self.recipe.dim if self._folder is None else self.world.dim

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(dim,)."""
        return (self.dim,)

    @property
    def value_range(self) -> tuple[float, float]:
        """Unbounded."""
        return -math.inf, math.inf

    @property
    def world(self) -> World:
        """The world, which is made when it is first asked for."""
        if self._world is None:
            self._world = self._found() if self._folder is None else World.load(self._folder)
        return self._world

    @property
    def feature_directions(self) -> Tensor:
        """The true directions, unit rows (features, dim)."""
        return self.world.directions

    @property
    def feature_parents(self) -> Tensor | None:
        """The parent (features,) of each feature, int64, -1 for roots; None of a world without trees."""
        parents = self.world.parents
        return parents if bool((parents >= 0).any()) else None

    @property
    def steps_at_once(self) -> int:
        """Steps whose training batches are drawn in one call; the samples depend on it."""
        widest = max(self.dim, self.features if self.features <= self.DENSE else 0)
        numbers = self.batch_size * (self.instances or 1) * widest
        return max(1, min(self.STEPS_AT_ONCE, self.NUMBERS_AT_ONCE // numbers))

    def prepare_data(self) -> None:
        """Make the world on the first process, or read it."""
        _ = self.world

    def draw(self, n: int, generator: torch.Generator) -> LabeledBatch:
        """Draw n samples x (n, dim), or (n, instances, dim), and the features that they are made of.

        Those are (n, features), or (n, instances, features); of more than 4,096 features as `draw_steps` gives them.
        """
        x, y = self.draw_steps(1, n, generator)[0]
        if self.features > self.DENSE:
            return x, y
        return x, y.to_dense() if self.instances is None else y.to_dense().movedim(0, 1)

    def draw_steps(self, steps: int, n: int, generator: torch.Generator) -> list[tuple[Tensor, SparseCode]]:
        """Draw the batches of several steps in one call.

        Features are a `SparseCode` (n, features), or (instances, n, features).
        """
        lead = (steps,) if self.instances is None else (steps, self.instances)
        sampler, rows = self._sampler(generator.device), math.prod(lead) * n
        features = sampler.draw(rows, generator)
        x = sampler.sums(features, generator).view(*lead, n, -1)
        x = x if self.instances is None else x.movedim(1, 2)
        return list(zip(x, self._by_steps(features, (*lead, n)), strict=True))

    def _by_steps(self, features: SparseCode, lead: tuple[int, ...]) -> Iterator[SparseCode]:
        """Features (samples, features) of each step by themselves."""
        latents, offsets = features.places.latents, features.places.offsets
        if self.instances is not None:
            latents = latents + features.places.bags // lead[-1] % self.instances * self.features
        bags = math.prod(lead[1:])
        ends = offsets[::bags].tolist()
        for step, (begin, end) in enumerate(pairwise(ends)):
            own = offsets[step * bags : (step + 1) * bags + 1] - begin
            yield SparseCode(features.values[begin:end], Places(latents[begin:end], own, (*lead[1:], self.features)))

    def _found(self) -> World:
        """The world of the options, from where it is kept if making it takes long."""
        if not self.recipe.is_costly:
            return self.recipe.world()
        folder = self._root / "worlds" / self.recipe.key
        if not (folder / SETTINGS).is_file():
            world = self.recipe.world()
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", Notice)  # of what others cannot read of it
                    world.save(folder)
            except OSError as error:
                reason = (error.strerror or "for an unknown reason").lower()
                raise DataError(
                    f"The world cannot be kept in {folder} ({reason}); name a folder that can be written with "
                    "--data.root."
                ) from error
        try:
            return World.load(folder)
        except DataError as error:
            raise DataError(f"{error} Or delete {folder}, and the world is made anew.") from error

    def _sampler(self, device: torch.device) -> Sampler:
        if device not in self._samplers:
            self._samplers[device] = Sampler(self.world, device)
        return self._samplers[device]
