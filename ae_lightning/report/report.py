"""The report of a run: which sections it has, and how they are filled."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ae_lightning.errors import UserError
from ae_lightning.evaluation import evaluate
from ae_lightning.gallery import Gallery
from ae_lightning.models.checkpoint import load_autoencoder
from ae_lightning.plots.raster import as_png, render
from ae_lightning.plots.training import Curve, training_summary
from ae_lightning.report.baselines import random_encoder
from ae_lightning.report.explorer_link import explorer_section
from ae_lightning.report.findings import findings
from ae_lightning.report.overview import error_table, latent_table, probe_table, settings_table
from ae_lightning.report.page import Picture, Section
from ae_lightning.report.ranking import RankedOn
from ae_lightning.report.reading import TITLES_AND_READINGS
from ae_lightning.report.sparsity import SparsityFigures
from ae_lightning.report.weights import UNITS, WeightFigures
from ae_lightning.run.history import loss_formula, loss_history
from ae_lightning.run.readable import ReadableRun
from ae_lightning.run.results_form import is_whole

_DPI = 110
_SUMMARY, _NUMBERS = "Summary", "numbers and baselines"
_UNITS = "Units and weights"
_PROBES = ("latent", "raw", "pca", "untrained")

Makers = dict[str, Callable[[], Figure]]


class Report:
    """Numbers and figures of a run, with what fits its variant; made when asked for.

    Args:
        run: The run, which may still be training; its data are set up here.
        checkpoint: Which weights, the best by default.
        steps: Snapshots to show side by side; None chooses some.
        units: How many units are shown as images.
        ranked_on: Of which samples the importance of units is, see `WeightFigures`.
    """

    def __init__(
        self,
        run: ReadableRun,
        checkpoint: Path | None = None,
        steps: Sequence[int] | None = None,
        units: int = UNITS,
        ranked_on: RankedOn = "test",
    ) -> None:
        self.run = run
        self.checkpoint = checkpoint or run.checkpoint
        self.model = load_autoencoder(self.checkpoint)
        self.weights = WeightFigures(run, self.model, steps, units, ranked_on)
        self._sparsity = SparsityFigures(run, self.model)

    @cached_property
    def makers(self) -> dict[str, Makers]:
        """The figures that fit, by section and name, each with what makes it."""
        code = self._sparsity.fitting()
        training: Makers = {"training": self.training}
        penalties = code.pop("penalties", None)
        if penalties and loss_formula(self.model.loss_weights, loss_history(self.run.metrics)):
            training["penalties"] = penalties  # of a single term it would be the loss again
        gallery = Gallery(self.model, self.run.data).fitting()
        return {
            "Training": training,
            "Reconstructions": {"reconstructions": gallery.pop("reconstructions")},
            _UNITS: self.weights.fitting(),
            "The code": code,
            "The latent space": gallery,
        }

    @property
    def parts(self) -> dict[str, list[str]]:
        """What is made, by section, in the order in which it is made."""
        return {_SUMMARY: [_NUMBERS], **{title: list(makers) for title, makers in self.makers.items()}}

    def sections(
        self, folder: Path, keep: Callable[[str, bytes], None], tell: Callable[[str, str], None]
    ) -> Iterator[Section]:
        """The sections one by one, in the order of the page: the summary, the way to the explorer, and the figures.

        Args:
            folder: Where the page will lie.
            keep: Called with the name and the PNG of each figure.
            tell: Called with a section and a part of it, as `parts` has them, before the part is made.
        """
        tell(_SUMMARY, _NUMBERS)
        yield self.summary()
        yield explorer_section(self.run, self.model, folder)
        for title, makers in self.makers.items():
            section = Section(title)
            for name, make in makers.items():
                tell(title, name)
                try:
                    png = as_png(render(make(), _DPI), _DPI)
                except (ValueError, UserError) as error:
                    section.problems.append(f"{TITLES_AND_READINGS[name][0]}: {error}")
                else:
                    keep(name, png)
                    section.pictures.append(Picture(name, *TITLES_AND_READINGS[name], png))
            if title == _UNITS:
                # Where a snapshot does not fit the model, the figures say so.
                with contextlib.suppress(ValueError, UserError):
                    section.sentences += filter(None, [self.weights.births_and_deaths()])
            yield section

    def summary(self) -> Section:
        """What was trained, warnings that matter, and the final numbers."""
        results = self.results
        tables = [
            error_table(results, len(self.run.data.test_set), self._random_error),
            probe_table(results),
            latent_table(results),
            settings_table(self.run.config, results),
        ]
        warnings = findings(results, self._series("val/loss"), bool(self.run.results))
        if self.run.snapshots.damaged:
            warnings.append(
                f"Snapshots that are missing or damaged were left out: {', '.join(self.run.snapshots.damaged)}."
            )
        return Section(
            _SUMMARY,
            sentences=[] if warnings else ["Nothing in these numbers calls for a warning."],
            problems=warnings,
            tables=[table for table in tables if table is not None],
        )

    @cached_property
    def results(self) -> dict[str, Any]:
        """The final numbers; of a run that has none, or of another checkpoint, they are measured here."""
        stored = self.run.results
        if stored.get("checkpoint") == self.checkpoint.name and is_whole(stored):
            return stored
        return {
            **evaluate(self.model, self.run.data),
            "seed": self.run.config.get("seed_everything"),
            "probes": self.run.last_values("probe"),
            "seconds": self.run.last_values("speed/train_seconds").get("speed/train_seconds"),
        }

    def training(self) -> Figure:
        """Losses, and probes if there were any."""
        train = max((self._series(name) for name in ("train/loss", "train/loss_epoch")), key=lambda part: len(part[0]))
        probes: dict[str, Curve] = {}
        for name in _PROBES:
            steps, accuracy = self._series(f"probe/{name}")
            if len(steps):
                probes[name] = (steps, accuracy, self._series(f"probe/{name}_se")[1])
        return training_summary(*train, *self._series("val/loss"), probes)

    def _series(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        return self.run.series(name) if name in self.run.metrics else (np.empty(0, dtype=int), np.empty(0))

    @cached_property
    def _random_error(self) -> float | None:
        return random_encoder(self.run, self.model, self.results["data"]["hash"])
