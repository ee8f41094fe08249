"""What a report is about: a run, its model and its data, and what is made of them, each part once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from ae_lightning.data.base import AutoencoderDataModule
from ae_lightning.evaluation import evaluate
from ae_lightning.evaluation.verdict import components_of_active
from ae_lightning.gallery import Gallery
from ae_lightning.models.checkpoint import load_autoencoder
from ae_lightning.report.baselines import pca_errors, random_encoder
from ae_lightning.report.ranking import RankedOn
from ae_lightning.report.sparsity import SparsityFigures
from ae_lightning.report.weights import UNITS, WeightFigures
from ae_lightning.run.instance_run import InstanceRun
from ae_lightning.run.readable import ReadableRun
from ae_lightning.run.results_form import is_whole


class Subject:
    """A run as the sections of its report see it.

    Args:
        run: The run, which may still be training; its data are set up here.
        checkpoint: Which weights, the best by default.
        steps: Snapshots to show side by side; None chooses some.
        units: How many units are shown as images.
        ranked_on: Of which samples the importance of units is, see `WeightFigures`.
        folder: Where the page will lie; `report` in the run's folder by default.
        instance: Which instance of a population alone; None is the whole run.

    Raises:
        ConfigError: There is no such instance, or it has samples of its own.
    """

    def __init__(
        self,
        run: ReadableRun,
        checkpoint: Path | None = None,
        steps: Sequence[int] | None = None,
        units: int = UNITS,
        ranked_on: RankedOn = "test",
        folder: Path | None = None,
        instance: int | None = None,
    ) -> None:
        self.checkpoint = checkpoint or run.checkpoint
        self.folder = folder or run.folder / "report"
        whole = load_autoencoder(self.checkpoint)
        self.model = whole if instance is None else whole.instance(instance)
        #: Which instance of a population it is about; None of a whole run.
        self.instance = None if whole.instances is None else instance
        self.run = run if self.instance is None else InstanceRun(run.folder, self.model, self.instance)
        run = self.run
        self.weights = WeightFigures(run, self.model, steps, units, ranked_on)

    @property
    def data(self) -> AutoencoderDataModule:
        """The run's data, set up."""
        return self.run.data

    @cached_property
    def sparsity(self) -> SparsityFigures:
        """Figures of the code."""
        return SparsityFigures(self.run, self.model)

    @cached_property
    def gallery(self) -> Gallery:
        """Figures of reconstructions and of the latent space."""
        return Gallery(self.model, self.data)

    @cached_property
    def results(self) -> dict[str, Any]:
        """The final numbers; of a run that has none, or of another checkpoint, they are measured here."""
        stored = self.run.results
        if stored.get("checkpoint") == self.checkpoint.name and is_whole(stored):
            return stored
        return {
            **evaluate(self.model, self.data),
            "seed": self.run.config.get("seed_everything"),
            "probes": self.run.last_values("probe"),
            "seconds": self.run.last_values("speed/train_seconds").get("speed/train_seconds"),
        }

    @cached_property
    def random_error(self) -> float | None:
        """Error per pixel of a random encoder of the model's width, if it can be had."""
        return random_encoder(self.run, self.model, self.results["data"]["hash"])

    @cached_property
    def pca_of_active(self) -> Mapping[str, Any] | None:
        """Errors of PCA with as many components as a sample has active latents; None if nothing makes these few."""
        count = components_of_active(self.results)
        return None if count is None else pca_errors(self.run, count, self.results["data"]["hash"])

    def series(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Steps and values of a metric, (n,) each; empty where it was not logged."""
        return self.run.series(name) if name in self.run.metrics else (np.empty(0, dtype=int), np.empty(0))
