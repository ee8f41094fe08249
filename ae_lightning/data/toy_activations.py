"""Hidden activations of a trained toy model of superposition, with the features they are made of."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ae_lightning.data.sparse_features import SparseFeaturesDataModule
from ae_lightning.data.toy_training import ToyTraining
from ae_lightning.errors import CheckpointError, ConfigError, DataError, Notice
from ae_lightning.models.checkpoint import load_autoencoder
from ae_lightning.models.toy_model import ToyInit, ToyModel
from ae_lightning.nn.affine import affine
from ae_lightning.per_feature import PerFeature, per_feature
from ae_lightning.training.batch import LabeledBatch
from ae_lightning.yaml_file import read_settings


class ToyActivationsDataModule(SparseFeaturesDataModule):
    """Activations h = W f of a toy model as samples, and the sparse features f behind them as `y`.

    What a sparse autoencoder finds in them can be compared with the truth, `feature_directions`. The toy model is the
    one of a checkpoint, of which the first instance is taken for all, or it is trained here, once for the same
    settings, and kept in `<root>/toy_models`.

    Source: Elhage et al. (2022), "Toy Models of Superposition"; Sharkey et al. (2022) for the autoencoder on top.

    Args:
        toy_model: Checkpoint of a `ToyModel`, or a run's folder; null trains one. If it has instances, and `instances`
            is given, it must be as many, so that nothing else is meant than the one model for all.
        hidden_dim: Hidden dimensions of the toy model, the numbers in a sample.
        toy_importance: Importance of the features for the toy model that is trained here.
        toy_steps: Optimizer steps for which it is trained.
        toy_init: How its weights start, as `ToyModel` has it; with xavier_joint it is the first of `instances` models
            that start together.
        root: Folder of the data, by default the environment variable AE_LIGHTNING_DATA, or else `data`.
        **kwargs: Arguments of `SparseFeaturesDataModule`, which say how features are drawn for both models; of a
            probability by instance the toy model gets the first.

    Raises:
        ConfigError: If an option is out of range.
    """

    def __init__(
        self,
        toy_model: str | None = None,
        hidden_dim: int = 2,
        toy_importance: PerFeature = 1.0,
        toy_steps: int = 5000,
        root: str | None = None,
        toy_init: ToyInit = "xavier",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for option, size in (("hidden_dim", hidden_dim), ("toy_steps", toy_steps)):
            if size < 1:
                raise ConfigError(f"--data.{option} is {size}; it must be at least 1.")
        if not bool((per_feature("--data.toy_importance", toy_importance, self.features, None) >= 0).all()):
            raise ConfigError("--data.toy_importance has a number below 0; each must be at least 0.")
        self.toy_model = None if toy_model is None else Path(toy_model).expanduser()
        self.hidden_dim = hidden_dim
        folder = Path(root or os.environ.get("AE_LIGHTNING_DATA") or "data").expanduser()
        together = self.instances if toy_init == "xavier_joint" else None
        self._training = ToyTraining(
            self.distribution, self.seed, hidden_dim, toy_importance, toy_steps, folder, together
        )
        self._directions: Tensor | None = None

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(hidden_dim,)."""
        return (self.hidden_dim,)

    @property
    def value_range(self) -> tuple[float, float]:
        """Unbounded."""
        return -math.inf, math.inf

    @property
    def feature_directions(self) -> Tensor:
        """(features, hidden_dim): row i is the activation of feature i alone; known after `setup`.

        Raises:
            DataError: `setup` was not called yet.
        """
        if self._directions is None:
            raise DataError("ToyActivationsDataModule has no toy model yet; call its setup() first.")
        return self._directions

    def prepare_data(self) -> None:
        """Train the toy model on the first process, unless it is there already."""
        if self.toy_model is None:
            self._training.model()

    def make_sets(self) -> Any:
        """Load the toy model, or train it, and draw the sets."""
        with torch.random.fork_rng(devices=[]):  # models are built with random weights before their own are read
            self._directions = self._toy().feature_directions.detach().clone()
        return super().make_sets()

    def draw_steps(self, steps: int, n: int, generator: torch.Generator) -> Sequence[LabeledBatch]:
        """Draw the activations (n, hidden_dim), or (n, instances, hidden_dim), of several steps, and their features."""
        features = self.draw_features(steps, n, generator)
        directions = self.feature_directions.to(features.device)
        if self.instances is not None:
            directions = directions.expand(self.instances, -1, -1)
        activations = affine(features.movedim(1, -2), directions).movedim(-2, 1)
        return list(zip(activations, features, strict=True))

    def _toy(self) -> ToyModel:
        """The toy model, without instances."""
        if self.toy_model is None:
            return self._training.model()
        try:
            model = load_autoencoder(self.toy_model)
        except CheckpointError as error:
            where = "" if self.toy_model.is_absolute() else f" (a relative path counts from {Path.cwd()})"
            raise CheckpointError(f"--data.toy_model: {error}{where}") from error
        if not isinstance(model, ToyModel):
            raise ConfigError(f"--data.toy_model {self.toy_model} is a {type(model).__name__}; it must be a ToyModel.")
        self._require_same_sizes(model)
        _warn_of_other_features(self.toy_model, self)
        return _first_instance(model)

    def _require_same_sizes(self, model: ToyModel) -> None:
        sizes = {
            "features": (model.input_size, self.features),
            "hidden_dim": (model.latent_dim, self.hidden_dim),
            "instances": (model.instances, self.instances),
        }
        for option, (has, asked) in sizes.items():
            if has != asked and None not in (has, asked):
                raise ConfigError(
                    f"the toy model of {self.toy_model} has {option} {has}, but --data.{option} is {asked}; "
                    f"set --data.{option} {has}."
                )


def _first_instance(model: ToyModel) -> ToyModel:
    if model.instances is None:
        return model
    single = ToyModel(model.input_shape, model.latent_dim, output_activation=model.output_activation_name)
    single.load_state_dict({name: value[0] for name, value in model.state_dict().items()})
    return single


def _warn_of_other_features(checkpoint: Path, data: SparseFeaturesDataModule) -> None:
    """Say so where the toy model's run tells that it was trained on features of another kind."""
    run = checkpoint if checkpoint.is_dir() else checkpoint.parent.parent
    if not (run / "config.yaml").is_file():
        return
    trained_on = read_settings(run / "config.yaml").get("data", {})
    if not str(trained_on.get("class_path")).endswith(".SparseFeaturesDataModule"):
        return
    now = data.distribution
    options = {name: value for name, value in trained_on.get("init_args", {}).items() if name in {*now, "instances"}}
    then = SparseFeaturesDataModule(**options).distribution
    for name in then:
        if then[name] != now[name]:
            said = f"{checkpoint} was trained with {name} {then[name]}, and its activations are drawn with {now[name]}"
            warnings.warn(said, Notice, stacklevel=2)
