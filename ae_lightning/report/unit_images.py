"""Which figures show units as images, in order of importance or of structure, and how each is made."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from ae_lightning.analysis.structure import noise_deviation, spatial_autocorrelation
from ae_lightning.plots.evolution import weight_evolution
from ae_lightning.plots.structure import structure_figure
from ae_lightning.plots.unit_frames import unit_frames
from ae_lightning.plots.weights import weight_pairs
from ae_lightning.report.units import Units
from ae_lightning.run.codes import at_snapshots, chosen_moments, reconstruct

_ROWS = 6
_COLUMNS = 12
# At least so many, or half of what was asked for: a pair is two images.
_PAIRS = 32
_FRAMES = 25
_SAMPLES = 1000
_MOMENTS = 16
_BY_STRUCTURE = 42


class UnitImages:
    """Images of units of a run whose samples are pictures.

    Pixels that no training sample lights are gray in what units read, and count for nothing in their structure: what
    stands there is the noise of the start.

    Args:
        units: The units.
        count: How many of them are shown at most.
    """

    def __init__(self, units: Units, count: int) -> None:
        self._units = units
        self._count = min(count, len(units.encoder))

    def fitting(self) -> dict[str, Callable[[], Figure]]:
        """The figures that the run allows, by name."""
        if not self._units.are_pictures:
            return {}
        figures: dict[str, Callable[[], Figure]] = {"structure": self.structure, "units": self.pairs}
        return figures | ({"units_through_training": self.evolution} if self._units.have_history else {})

    def structure(self) -> Figure:
        """Units in the order of how structured what they write is, see `analysis.structure`, beside importance."""
        history = None
        if self._units.have_history:
            steps = chosen_moments(self._units.ranking.moments, _MOMENTS)
            history = (steps, torch.stack([self._structure(self._units.written_at(step)) for step in steps]))
        return structure_figure(
            self._structure(self._units.written),
            self._units.ranking.final,
            self._units.written,
            self._units.shape,
            noise_deviation(self._units.model.input_shape, self._units.lit),
            history,
            most=min(self._count, max(_BY_STRUCTURE, self._count // 2)),
        )

    def pairs(self) -> Figure:
        """What the most important units read, and beside it what they write."""
        shown = self._units.top(min(self._count, max(_PAIRS, self._count // 2)))
        title = f"the {len(shown)} most important units: left what a unit reads, right what it writes"
        return weight_pairs(self._units.read, self._units.written, self._units.shape, shown, self._units.lit, title)

    def evolution(self) -> Figure:
        """Decoder rows of the units that are most important in the end, at the moments asked for or at a dozen."""
        units = self._units
        steps = units.steps if units.moments_asked_for else chosen_moments(units.ranking.moments, _COLUMNS)
        shown = units.top(min(self._count, _ROWS))
        rows = torch.stack([units.written_at(step)[shown] for step in steps])
        return weight_evolution(rows, units.shape, steps, shown, shared_scale=False, title="decoder rows")

    def frames(self) -> tuple[list[np.ndarray], list[str]]:
        """Frames of an animation with captions: decoder rows of the units that are most important, side by side.

        On the left those most important in the end, in their places; on the right those of each moment, by rank. Each
        frame says its step, how many samples were seen by then, and the error on the first 1,000 test samples.
        """
        units = self._units
        steps = chosen_moments(units.ranking.moments, _FRAMES)
        top = torch.tensor(units.top(self._count))
        chosen = ((step, torch.stack([top, units.ranking.top_at(step, self._count)])) for step in steps)
        moments = [(step, units.written_at(step)[which]) for step, which in chosen]
        errors = self._errors(steps)
        seen = {entry["step"]: entry.get("images_seen") for entry in units.run.snapshots.index}
        notes = [_note(step, seen.get(step), error) for step, error in zip(steps, errors, strict=True)]
        headings = ("most important in the end, in their places", "most important at this moment, by rank")
        captions = [
            f"{note}; decoder rows of the {self._count} units most important in the end (left), and of those "
            "most important at this moment (right)"
            for note in notes
        ]
        return unit_frames(moments, units.shape, headings, notes, errors), captions

    def _structure(self, rows: Tensor) -> Tensor:
        return spatial_autocorrelation(rows, self._units.model.input_shape, self._units.lit)

    def _errors(self, steps: list[int]) -> list[float]:
        """Squared error per pixel on the first test samples at each of these snapshots."""
        data = self._units.data
        x, target = self._units.model.pair(data.test_set.take(_SAMPLES))
        target = target[0] if target.ndim > x.ndim - (data.instances is not None) else target
        return [
            float((reconstruct(then, x)[0].cpu().double() - target.cpu().double()).square().mean())
            for _, then in at_snapshots(self._units.model, self._units.run.snapshots, steps)
        ]


def _note(step: int, seen: int | None, error: float) -> str:
    samples = "" if seen is None else f", {seen:,} images seen"
    return f"step {step:,}{samples}, squared error per pixel {error:.3g}"
