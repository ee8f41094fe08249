"""Training a toy model as data for another model, once for the same settings."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from ae_lightning.data.generated import GeneratedLoader
from ae_lightning.data.sparse_features import SparseFeaturesDataModule
from ae_lightning.errors import CheckpointError, DataError
from ae_lightning.files import as_json
from ae_lightning.models.checkpoint import load_autoencoder, write_checkpoint
from ae_lightning.models.identity import stamp_identity
from ae_lightning.models.toy_model import ToyModel
from ae_lightning.per_feature import PerFeature

_BATCH_SIZE = 1024
_LEARNING_RATE = 1e-3
# The stream of random numbers of a seed, apart from those of the sets and of training batches.
_STREAM = 4
# Part of the key: to be raised when the same settings come to give another model.
_VERSION = 2


@dataclasses.dataclass(frozen=True)
class ToyTraining:
    """How a toy model without instances is trained: Adam at 1e-3, batches of 1,024, drawn anew for each step.

    Args:
        distribution: Of the features, as `SparseFeaturesDataModule.distribution` has it.
        seed: Seed of the weights and of the samples.
        hidden_dim: Hidden dimensions.
        importance: Importance of the features.
        steps: Optimizer steps.
        root: Folder in which `toy_models` is.
        start_with: Number of models whose start is drawn together, by `xavier_joint`; this is the first of them. None
            draws this one alone.
    """

    distribution: dict[str, Any]
    seed: int
    hidden_dim: int
    importance: PerFeature
    steps: int
    root: Path
    start_with: int | None = None

    @property
    def path(self) -> Path:
        """Where the trained model is kept: a file for each combination of settings."""
        settings = {**dataclasses.asdict(self), "version": _VERSION}
        del settings["root"]
        if self.start_with is None:  # models that were kept before there was a choice are found
            del settings["start_with"]
        key = hashlib.sha256(as_json(settings, sort_keys=True).encode()).hexdigest()[:16]
        return self.root / "toy_models" / f"{key}.ckpt"

    def model(self) -> ToyModel:
        """The trained model, from its file if there is one; no random state is touched.

        Raises:
            CheckpointError: The file is damaged.
            DataError: It cannot be written.
        """
        if not self.path.is_file():
            with self._writing():  # before the work is done
                self.path.parent.mkdir(parents=True, exist_ok=True)
            self._keep(self.train())
        try:
            with torch.random.fork_rng(devices=[]):  # a model is built with random weights before its own are read
                model = load_autoencoder(self.path)
        except CheckpointError as error:
            raise CheckpointError(f"{error}; delete it, and the toy model is trained anew") from error
        assert isinstance(model, ToyModel)
        return model

    def train(self) -> ToyModel:
        """Train a model from scratch, on the CPU, so that every machine gets the same; no random state is touched."""
        data = SparseFeaturesDataModule(**self.distribution)
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.default_generator.manual_seed(self.seed)  # `torch.manual_seed` would seed the GPUs too
            model = ToyModel(data.input_shape, self.hidden_dim, self.importance)
            if self.start_with is not None:
                several = ToyModel(data.input_shape, self.hidden_dim, instances=self.start_with, init="xavier_joint")
                model.load_state_dict({name: value[0] for name, value in several.state_dict().items()})
        optimizer = torch.optim.Adam(model.parameters(), lr=_LEARNING_RATE, fused=True)
        with torch.enable_grad():
            loader = GeneratedLoader(
                data.draw_steps, _BATCH_SIZE, self.steps, at_once=data.steps_at_once, seeds=(self.seed, _STREAM)
            )
            for x, *_ in loader:
                optimizer.zero_grad()
                model.loss(x)[0]["loss"].backward()
                optimizer.step()
        return model.eval()

    def _keep(self, model: ToyModel) -> None:
        checkpoint: dict[str, Any] = {"state_dict": model.state_dict(), "hyper_parameters": dict(model.hparams)}
        stamp_identity(model, checkpoint)
        with self._writing():
            write_checkpoint(checkpoint, self.path)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            reason = (error.strerror or "for an unknown reason").lower()
            raise DataError(
                f"The trained toy model cannot be kept in {self.path.parent} ({reason}); name a folder that can be "
                "written with --data.root."
            ) from error
