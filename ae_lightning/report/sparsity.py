"""Which figures show how sparse the code of a run is and what its latents stand for, and how each is made."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property, partial
from typing import cast

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from ae_lightning.data.sparse_features import SparseFeaturesDataModule
from ae_lightning.errors import ConfigError
from ae_lightning.metrics.sparsity import FiringDensity, MeanActivation, has_silent_latents
from ae_lightning.models.base import Autoencoder
from ae_lightning.models.shallow import ShallowAutoencoder
from ae_lightning.models.sparse import SparseAutoencoder
from ae_lightning.models.toy_model import ToyModel
from ae_lightning.plots import features as feature_plots
from ae_lightning.plots import sparsity as sparsity_plots
from ae_lightning.report import plane
from ae_lightning.report.animation import TrainingAnimation
from ae_lightning.report.contributions import can_be_taken_apart, contribution_figure
from ae_lightning.report.dictionaries import DictionaryFigures
from ae_lightning.report.interference import interference
from ae_lightning.run.codes import (
    MOST_SAMPLES,
    chosen_moments,
    encode,
    first_batches,
    fractions_active,
)
from ae_lightning.run.history import loss_formula, loss_history
from ae_lightning.run.run import Run

INSTANCES = 12
"""How many instances are shown side by side if it is not said."""

# Of a wide code fewer samples are kept: 80 MB of it.
_MOST_VALUES = 20_000_000
_DOTS = 300


class SparsityFigures:
    """The figures of a run's model, its history and its snapshots, made when asked for.

    Samples are those of the test set, named by their index. Where there are instances and a figure is of one, it is
    of the first. No global random number is drawn.

    Args:
        run: The run; its data are set up here.
        model: Its model with the weights to show, those of the best checkpoint by default.
    """

    def __init__(self, run: Run, model: Autoencoder | None = None) -> None:
        self.run = run
        self.model = run.model if model is None else model
        self.data = run.data
        self.data.setup()

    def fitting(self, sample: int | None = None, instances: int = INSTANCES) -> dict[str, Callable[[], Figure]]:
        """The figures that this run allows, by name; none where the code is no vector.

        A dense code, of which every latent is active on every sample, has no firing and no strongest few latents: of
        these there is nothing. Nor of the terms of a loss that has only one.

        Args:
            sample: The one that `contributions` takes apart.
            instances: How many are shown at most where several are.
        """
        if len(self.model.latent_shape) != 1:
            return {}
        figures: dict[str, Callable[[], Figure]] = {}
        if loss_formula(self.model.loss_weights, loss_history(self.run.metrics)):
            figures["penalties"] = self.penalties
        if self._is_sparse or self._target is not None:
            figures["mean_activation"] = self.mean_activation
        if not self._is_toy:
            figures["latent_histograms"] = self.latent_histograms
        if can_be_taken_apart(self.model) and self._is_sparse:
            figures["contributions"] = partial(self.contributions, sample)
        if plane.can_be_drawn(self.model):
            figures["features"] = partial(self.features, instances)
            if not self._is_toy:
                figures["hidden_states"] = partial(self.hidden_states, instances)
        if isinstance(self.model, ToyModel):
            figures["interference"] = partial(interference, self.model)
        if self._is_rectified and self.run.snapshots:
            figures["fraction_active"] = partial(self.fraction_active, instances)
        return figures | DictionaryFigures(self.run, self.model).fitting()

    def needing_snapshots(self) -> list[str]:
        """Names of what this run's model would allow, and `animation` too, if the run had weight snapshots."""
        if self.run.snapshots:
            return []
        wanted = {"fraction_active": self._is_rectified, "animation": plane.can_be_drawn(self.model)}
        return [name for name, fits in wanted.items() if fits]

    @property
    def has_animation(self) -> bool:
        """Whether directions have two or three numbers, and there are snapshots."""
        return plane.can_be_drawn(self.model) and bool(self.run.snapshots)

    def penalties(self) -> Figure:
        """Each term of the loss over optimizer steps, not weighted."""
        history = loss_history(self.run.metrics)
        terms = {name: series for name, series in history.items() if name.partition("/")[2] != "loss"}
        return sparsity_plots.penalty_history(terms, loss_formula(self.model.loss_weights, history))

    def mean_activation(self) -> Figure:
        """Mean of ReLU(z) of each latent over the test set, and of a sparse code how often latents fire.

        A latent of a rectified code fires above zero; of any other sparse code, where it is not exactly zero.
        """
        mean, density = MeanActivation(rectified=True), FiringDensity(two_sided=not self._is_rectified)
        for x, *_ in self.data.test_set.batches(self.data.eval_batch_size):
            z = encode(self.model, x)[0].cpu()
            mean.update(z)
            density.update(z)
        fired = density.compute() if self._is_sparse else None
        return self._of_first(sparsity_plots.mean_activations(mean.compute(), fired, self._target))

    def latent_histograms(self, latents: list[int] | None = None, most: int = 12) -> Figure:
        """Values of single latents, of a sparse code where they are not zero, on up to 10,000 test samples.

        Args:
            latents: Which; None takes those of the largest mean magnitude.
            most: How many of these.
        """
        n = max(1, min(MOST_SAMPLES, _MOST_VALUES // self.model.latent_size))
        batches = first_batches(self.data.test_set, self.data.eval_batch_size, n)
        codes = torch.cat([encode(self.model, x)[0].cpu() for x in batches])
        return self._of_first(sparsity_plots.latent_histograms(codes, latents, most, sparse=self._is_sparse))

    def contributions(self, sample: int | None = None, most: int = 8) -> Figure:
        """What the latents add to the reconstruction of a test sample: images, or bars of short vectors.

        Args:
            sample: Its index; None takes the first on which a latent is active.
            most: How many latents are drawn singly.

        Raises:
            ConfigError: There is no such sample, or reconstructions are no sums over latents.
        """
        if not can_be_taken_apart(self.model):
            raise ConfigError(f"the reconstructions of {type(self.model).__name__} are not taken apart into latents")
        sample = self.first_active() if sample is None else sample
        title = f"test sample #{sample}" + ("" if self.model.instances is None else ", first instance")
        value_range = self.data.value_range if all(map(math.isfinite, self.data.value_range)) else None
        return contribution_figure(self.model, self.sample(sample), most, value_range, title)

    def features(self, instances: int = INSTANCES) -> Figure:
        """Directions in the plane or in space: a toy model's features, or decoder rows over the true directions.

        Raises:
            ConfigError: Directions have more numbers than three.
            ValueError: A direction is not finite.
        """
        model = self._drawable()
        view = plane.View.of(model, self.data)
        rows = plane.shown(plane.directions(model), instances, view)
        if self._is_toy:
            return feature_plots.feature_arrows(
                rows["features"], None, self._titles(instances), self._shown(instances, "feature directions")
            )
        behind, titles = self._behind(view), self._titles(instances)
        return feature_plots.feature_arrows(
            rows["decoder"], behind, titles, self._shown(instances, "decoder rows"), name="latent"
        )

    def hidden_states(self, instances: int = INSTANCES, n: int = _DOTS) -> Figure:
        """Test samples and their reconstructions as dots: the first n that are not zero, of each instance.

        Raises:
            ConfigError: Samples have more numbers than three.
            ValueError: A direction is not finite.
        """
        model = self._drawable()
        if self._is_toy:
            raise ConfigError("a ToyModel reconstructs features, which are drawn as directions and not as dots")
        view = plane.View.of(model, self.data)
        states, decoded = plane.reconstructed(model, plane.hidden_states(model, self.data, n))
        title = f"{states.shape[1]} test samples, those first that are not zero, and their reconstructions"
        return feature_plots.hidden_states(
            view(states[:instances]),
            view(decoded[:instances]),
            self._behind(view),
            self._titles(instances),
            title,
        )

    def fraction_active(self, instances: int = INSTANCES) -> Figure:
        """On which fraction of up to 10,000 test samples each latent fires, at up to 121 of the snapshots.

        Of a wide code it is a fraction of fewer samples, see `fractions_active`.

        Beside it the true probability of features, where it is known, and when latents of these instances were
        resampled.

        Raises:
            ConfigError: A latent that does not fire is not exactly zero, or there are no snapshots.
            ValueError: A snapshot is not one of the model.
        """
        snapshots = self.run.snapshots
        if not (self._is_rectified and snapshots):
            raise ConfigError("how often latents fire in the course of training needs a rectified code and snapshots")
        model = cast(ShallowAutoencoder, self.model)
        steps = chosen_moments(list(snapshots))
        fired = fractions_active(model, snapshots, steps, self.data.test_set, self.data.eval_batch_size)
        probability, moments = self._probability(instances), self._moments(instances)
        return sparsity_plots.fraction_active(
            steps, fired[:, :instances], probability, self._titles(instances), moments
        )

    def animation(self, instances: int = INSTANCES) -> tuple[list[np.ndarray], list[str]]:
        """Frames over the snapshots, and a caption for each; see `TrainingAnimation`.

        Raises:
            ConfigError: Directions have more numbers than three, or there are no snapshots.
            ValueError: A snapshot is not one of the model, or not finite.
        """
        model = self._drawable()
        if not self.run.snapshots:
            raise ConfigError(f"there are no weight snapshots in {self.run.folder}, which an animation is made of")
        return TrainingAnimation(self.run, model, instances).frames()

    def sample(self, index: int) -> Tensor:
        """One sample of the test set.

        Raises:
            ConfigError: There is none of this index.
        """
        count = len(self.data.test_set)
        if not 0 <= index < count:
            raise ConfigError(f"sample {index} is not in the test set, which has {count} (0 to {count - 1})")
        return self.data.test_set[index][0]

    # --- details -----------------------------------------------------------------------------------------------

    @cached_property
    def _is_toy(self) -> bool:
        return isinstance(self.model, ToyModel)

    @cached_property
    def _is_rectified(self) -> bool:
        return isinstance(self.model, ShallowAutoencoder) and self.model.fires_above_zero

    @cached_property
    def _is_sparse(self) -> bool:
        """Whether a latent that does not fire is exactly zero: by its activation, or as the first test samples show."""
        if self._is_rectified:
            return True
        x = next(iter(first_batches(self.data.test_set, self.data.eval_batch_size)))
        return not self._is_toy and has_silent_latents(encode(self.model, x).cpu())

    @property
    def _target(self) -> float | None:
        """The mean activation that a penalty draws latents to; None where there is none, or it is zero."""
        has_target = isinstance(self.model, SparseAutoencoder) and self.model.penalty == "kl"
        return float(self.model.target) or None if has_target else None  # type: ignore[arg-type]

    def _behind(self, view: plane.View) -> Tensor | None:
        known = plane.true_directions(self.data)
        return None if known is None else view(known)

    def _drawable(self) -> ShallowAutoencoder:
        if not plane.can_be_drawn(self.model):
            raise ConfigError(
                f"this {type(self.model).__name__} has no directions of two or three numbers, which could be drawn"
            )
        return cast(ShallowAutoencoder, self.model)

    def _of_first(self, figure: Figure) -> Figure:
        """The figure, which says so if it is of one of several instances."""
        if self.model.instances is not None:
            figure.suptitle(f"the first of {self.model.instances} instances", fontsize=10)
        return figure

    def _shown(self, instances: int, what: str) -> str:
        """A title that says so if not all instances are shown."""
        count = self.model.instances or 0
        return f"{what} of the first {instances} of {count} instances" if count > instances else what

    def _titles(self, instances: int) -> list[str] | None:
        """Names of the instances shown, with the probability of features where it tells them apart."""
        if self.model.instances is None:
            return None
        names = [f"instance {i}" for i in range(min(instances, self.model.instances))]
        probability = self._probability(instances)
        if probability is None or probability.ndim < 2 or not bool((probability == probability[:, :1]).all()):
            return names
        return [f"{name}: p = {p:.3g}" for name, p in zip(names, probability[:, 0].tolist(), strict=True)]

    def _probability(self, instances: int) -> Tensor | None:
        """Probabilities of the true features, (features,), or (instances, features) where they differ."""
        if not isinstance(self.data, SparseFeaturesDataModule):
            return None
        probability = self.data.probability
        return probability if probability.ndim == 1 else probability[:instances]

    def _moments(self, instances: int) -> np.ndarray:
        """Steps at which latents of the instances shown were resampled."""
        table = self.run.resampled
        return np.unique(table["step"][table["instance"] < instances])

    def first_active(self) -> int:
        """Index of the first test sample on which a latent is active; 0 where there is none."""
        start = 0
        for x in first_batches(self.data.test_set, self.data.eval_batch_size):
            active = (encode(self.model, x)[0] != 0).any(dim=-1).nonzero()
            if len(active):
                return start + int(active[0])
            start += len(x)
        return 0
