"""Which figures show how well latents recover true features, where these are known, and how each is made."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from matplotlib.figure import Figure

from ae_lightning.metrics.recovery import cosine_matrix, matched_latents
from ae_lightning.plots.cosines import recovery_figure
from ae_lightning.plots.dictionaries import history_figure
from ae_lightning.report.units import Units
from ae_lightning.run.codes import by_instance

_THRESHOLD = 0.95
_MOST_FEATURES = 64
_HISTORY = {
    "recovery/fraction_recovered": f"features recovered (cosine above {_THRESHOLD:g})",
    "recovery/mmcs": "mean of the best cosines (MMCS)",
    "recovery/mcc": "mean |cosine|, matched one to one (MCC)",
}


class RecoveryFigures:
    """Cosines of latents with true features, now and over training.

    Args:
        units: The units.
    """

    def __init__(self, units: Units) -> None:
        self._units = units
        known = units.data.feature_directions
        self._true = None if known is None or known.shape[-1] != units.model.input_size else known.cpu()

    def fitting(self) -> dict[str, Callable[[], Figure]]:
        """The figures that the run allows, by name; none where the truth is not known."""
        if self._true is None:
            return {}
        figures: dict[str, Callable[[], Figure]] = {"recovery": self.recovery}
        return figures | ({"recovery_over_training": self.history} if self._logged() else {})

    def recovery(self) -> Figure:
        """Cosines of true features with the latents matched to them, and the best cosine of each, of each instance.

        Of more than 64 features the matrix shows the 64 that are best matched.
        """
        assert self._true is not None
        model = self._units.model
        rows = by_instance(model.writing(model.decoder_vectors.detach()), model).cpu()
        cosines = cosine_matrix(rows, self._true).mT  # (instances, features, latent)
        features, latents = matched_latents(cosines[0])
        shown = features[cosines[0][features, latents].abs().argsort(descending=True, stable=True)[:_MOST_FEATURES]]
        shown = shown.sort().values
        matched = latents[(features[None] == shown[:, None]).int().argmax(dim=1)]
        several = "" if model.instances is None else ", first instance"
        part = f", the best {len(shown)} of {len(self._true)}" if len(shown) < len(self._true) else ""
        title = f"cosines of true features and latents{part}{several}"
        return recovery_figure(cosines[0][shown][:, matched], matched, cosines.amax(dim=-1), _THRESHOLD, title)

    def history(self) -> Figure:
        """What `FeatureRecovery` logged; means over instances."""
        return history_figure({_HISTORY[name]: self._units.run.series(name) for name in self._logged()}, "recovery")

    def _logged(self) -> list[str]:
        metrics = self._units.run.metrics
        return [name for name in _HISTORY if name in metrics and bool(np.isfinite(metrics[name]).any())]
