"""Which figures show what units are worth, and how each is made."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from ae_lightning.analysis.importance import (
    ablation_importance,
    causal_importance,
    error_by_removal,
    order,
    rank_correlation,
)
from ae_lightning.plots import importance as plots
from ae_lightning.report.units import Units

_REMOVALS = 33
_TRACKED = 12


class ImportanceFigures:
    """Importance of units over training, and what is lost without them.

    Args:
        units: The units.
    """

    def __init__(self, units: Units) -> None:
        self._units = units

    def fitting(self) -> dict[str, Callable[[], Figure]]:
        """The figures that the run allows, by name."""
        figures: dict[str, Callable[[], Figure]] = {}
        if self._units.have_history:
            figures |= {"importance": self.importance, "top_units": self.top_units}
        figures["causal_importance"] = self.causal
        if self._units.are_summed:
            figures["removal"] = self.removal
        return figures

    def importance(self) -> Figure:
        """Importance of all units, largest first, at the moments shown."""
        steps = self._units.steps
        rows = torch.stack([self._units.ranking.at(step) for step in steps])
        return plots.importance_distribution(rows, steps)

    def top_units(self) -> Figure:
        """Ranks of the finally most important units over training."""
        ranking = self._units.ranking
        return plots.top_unit_tracking(ranking.history, ranking.moments, _TRACKED)

    def causal(self) -> Figure:
        """Increase of the error without each unit, against its importance."""
        importance = self._units.ranking.final
        return plots.importance_against_causal(importance, self._causal, rank_correlation(importance, self._causal))

    def removal(self) -> Figure:
        """Error when units are removed, by importance, by causal importance, and from the least important on."""
        latent = len(self._units.ranking.final)
        counts = sorted({round(float(count)) for count in np.linspace(0, latent, min(latent + 1, _REMOVALS))})
        by_importance = order(self._units.ranking.final)
        orders = {
            "most important first": by_importance,
            "largest causal importance first": order(self._causal),
            "least important first": by_importance.flip(0),
        }
        written = (self._units.written, self._units.written_bias)
        errors = {
            name: error_by_removal(*self._units.samples, *written, units, counts).numpy()
            for name, units in orders.items()
        }
        return plots.removal_curve(counts, errors, None)

    @cached_property
    def _causal(self) -> Tensor:
        x, z = self._units.samples
        if self._units.are_summed:
            return causal_importance(x, z, self._units.written, self._units.written_bias)
        return ablation_importance(x.reshape(-1, *self._units.model.input_shape), z, self._decode)

    def _decode(self, z: Tensor) -> Tensor:
        model = self._units.model
        with torch.no_grad():
            if model.instances is None:
                return model.decode(z)
            return model.decode(z.expand(model.instances, *z.shape))[0]
