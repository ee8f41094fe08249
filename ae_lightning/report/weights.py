"""Which figures show the units of a shallow run: as images or in numbers, their importance, and their weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from matplotlib.figure import Figure

from ae_lightning.models.base import Autoencoder
from ae_lightning.models.shallow import ShallowAutoencoder
from ae_lightning.models.toy_model import ToyModel
from ae_lightning.report.ranking import RankedOn
from ae_lightning.report.recovery import RecoveryFigures
from ae_lightning.report.spectra import SpectrumFigures
from ae_lightning.report.unit_images import UnitImages
from ae_lightning.report.unit_importance import ImportanceFigures
from ae_lightning.report.unit_vectors import UnitVectors
from ae_lightning.report.units import Units, shown_steps
from ae_lightning.run.run import Run

UNITS = 64
"""How many units are shown as images if it is not said."""


class WeightFigures:
    """What the units of a shallow run are and are worth, and the spectra of its weights; of instances, the first.

    Where samples are pictures, units are shown as images; where they are vectors, in numbers. Units are shown in the
    order of their importance, see `Ranking`, but for one figure that orders them by structure.

    Args:
        run: The run; its data are set up here.
        model: Its model with the weights to show, those of the best checkpoint by default.
        steps: Snapshots to show side by side, as optimizer steps; None chooses up to four, denser at the start.
        units: How many units are shown as images.
        ranked_on: Of which samples importance is: the first 1,000 of the test set, or the first 5,000 of the training
            set, as the overcomplete experiment has it.
    """

    def __init__(
        self,
        run: Run,
        model: Autoencoder | None = None,
        steps: Sequence[int] | None = None,
        units: int = UNITS,
        ranked_on: RankedOn = "test",
    ) -> None:
        run.data.setup()
        shown = run.model if model is None else model
        self._snapshots, self._asked = run.snapshots, steps
        self._units: Units | None = None
        #: Figures of how latents recover true features; None where the model has no units.
        self.recovery: RecoveryFigures | None = None
        if isinstance(shown, ShallowAutoencoder) and not isinstance(shown, ToyModel):
            self._units = Units(run, shown, steps, ranked_on)
            self.recovery = RecoveryFigures(self._units)
            self._images = UnitImages(self._units, units)
            self._importance = ImportanceFigures(self._units)

    def fitting(self) -> dict[str, Callable[[], Figure]]:
        """The figures that this run allows, by name; none where the model is not shallow, or a toy model."""
        if self._units is None or self.recovery is None:
            return {}
        return {
            **self.recovery.fitting(),
            **self._images.fitting(),
            **UnitVectors(self._units).fitting(),
            **self._importance.fitting(),
            **SpectrumFigures(self._units).fitting(),
        }

    @property
    def steps(self) -> list[int]:
        """Snapshots that are shown side by side: the nearest to those asked for, in order."""
        return shown_steps(self._snapshots, self._asked)

    @property
    def has_animation(self) -> bool:
        """Whether there are images of units at several moments."""
        return self._units is not None and self._units.are_pictures and self._units.have_history

    def frames(self) -> tuple[list[np.ndarray], list[str]]:
        """Frames of an animation of units as images, see `UnitImages.frames`, and a caption for each."""
        return self._images.frames()
