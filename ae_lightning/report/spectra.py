"""Which figures show the weights of a shallow run as matrices, and how each is made."""

from __future__ import annotations

from collections.abc import Callable

from matplotlib.figure import Figure

from ae_lightning.analysis.spectrum import effective_rank, singular_values
from ae_lightning.analysis.tracking import unit_cosines
from ae_lightning.plots import importance as importance_plots
from ae_lightning.plots import spectrum as plots
from ae_lightning.report.units import Units
from ae_lightning.run.codes import chosen_moments

# Both matrices at so many moments: a fifth of a second each on MNIST.
_RANKS = 16


class SpectrumFigures:
    """Spectra of encoder and decoder, and how alike what units read and what they write are.

    Args:
        units: The units.
    """

    def __init__(self, units: Units) -> None:
        self._units = units

    def fitting(self) -> dict[str, Callable[[], Figure]]:
        """The figures that the run allows, by name."""
        figures: dict[str, Callable[[], Figure]] = {"cosines": self.cosines, "spectrum": self.spectrum}
        if self._units.model.needs_targets:  # what is read and what is written lie in different spaces
            del figures["cosines"]
        return figures | ({"effective_rank": self.effective_rank} if self._units.have_history else {})

    def cosines(self) -> Figure:
        """Cosine of each unit's encoder and decoder row."""
        cosines = unit_cosines(self._units.encoder, self._units.decoder)
        return importance_plots.encoder_decoder_cosines(cosines, self._units.ranking.final)

    def spectrum(self) -> Figure:
        """Singular values of encoder and decoder, and at the first snapshot."""
        units = self._units
        values = {"encoder": singular_values(units.encoder), "decoder": singular_values(units.decoder)}
        initial = None
        if units.have_history:
            first = units.run.snapshots[units.ranking.moments[0]]
            initial = {side: singular_values(units.first(first[f"{side}_vectors"])) for side in values}
        return plots.spectrum(values, initial=initial)

    def effective_rank(self) -> Figure:
        """Effective rank of encoder and decoder at the snapshots."""
        units = self._units
        ranks: dict[str, list[float]] = {"encoder": [], "decoder": []}
        steps = chosen_moments(units.ranking.moments, _RANKS)
        for step in steps:
            snapshot = units.run.snapshots[step]
            for side, values in ranks.items():
                values.append(float(effective_rank(units.first(snapshot[f"{side}_vectors"]))))
        return plots.effective_rank_history(steps, ranks, min(*units.encoder.shape, *units.decoder.shape))
