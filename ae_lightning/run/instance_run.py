"""One instance of a population's run, seen as the run of a single model."""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor

from ae_lightning.errors import ConfigError, RunFolderError
from ae_lightning.models.base import Autoencoder
from ae_lightning.run.instances import of_instance
from ae_lightning.run.readable import ReadableRun, ReadableSnapshots
from ae_lightning.run.results import RESULTS_NAME
from ae_lightning.run.snapshots import snapshot_folder


class InstanceRun(ReadableRun):
    """A run of which an instance alone is seen: its numbers, its latents, its weights at each snapshot.

    Settings and logged metrics are those of the whole run; logged are means over instances.

    Args:
        folder: The run's.
        model: The instance, as `Autoencoder.instance` gives it.
        instance: Which it is, counted from 0.

    Raises:
        ConfigError: Each instance has samples of its own, so that one has no data module by itself.
    """

    def __init__(self, folder: Path, model: Autoencoder, instance: int) -> None:
        super().__init__(folder)
        self._single = model
        self.instance = instance
        if self.data.instances is not None:
            raise ConfigError(
                f"--instance is {instance}, but each instance of {folder} has samples of its own, and a report on one "
                "needs samples that all share: leave --instance out, or look at it with `ae-lightning explore`"
            )

    @property
    def title(self) -> str:
        """As that of the run, and which instance it is."""
        return f"{super().title}, instance {self.instance}"

    @cached_property
    def model(self) -> Autoencoder:
        """The instance as a single model."""
        return self._single

    @cached_property
    def snapshots(self) -> ReadableSnapshots:
        """Weight snapshots of the instance by step, those that can be read."""
        return _InstanceSnapshots(snapshot_folder(self.folder), self._single, self.instance)

    @property
    def results(self) -> dict[str, Any]:
        """The final numbers of the instance; empty while the run has not finished.

        Raises:
            RunFolderError: `metrics.json` is damaged, or an earlier version wrote it, which listed no instances.
        """
        results = super().results
        if results and not results.get("instances"):
            raise RunFolderError(
                f"{self.folder / RESULTS_NAME} lists no instances: write it anew with `ae-lightning evaluate`"
            )
        return of_instance(results, self.instance) if results else {}

    @property
    def latents(self) -> dict[str, np.ndarray]:
        """The rows of the instance in `latents.csv`, as those of a model without instances."""
        return self._own(super().latents)

    @property
    def resampled(self) -> dict[str, np.ndarray]:
        """The rows of the instance in what was resampled, as those of a model without instances."""
        return self._own(super().resampled)

    def _own(self, table: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        rows = {name: values[table["instance"] == self.instance] for name, values in table.items()}
        return {**rows, "instance": np.zeros_like(rows["instance"])}


class _InstanceSnapshots(ReadableSnapshots):
    """Snapshots of a population, of which each gives the part of one instance."""

    def __init__(self, folder: Path, single: Autoencoder, instance: int) -> None:
        super().__init__(folder)
        self._dimensions = {name: value.ndim for name, value in single.snapshot().items()}
        self._instance = instance

    def __getitem__(self, step: int) -> dict[str, Tensor]:
        return {
            # What all instances share has no leading axis more.
            name: value if value.ndim <= self._dimensions.get(name, value.ndim) else value[self._instance]
            for name, value in super().__getitem__(step).items()
        }
