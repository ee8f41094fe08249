"""Which figures show how well latents recover true features, where these are known, and how each is made."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
from matplotlib.figure import Figure

from ae_lightning.analysis.truth_tracking import Events, Tracked, latent_events, track_truths
from ae_lightning.metrics.recovery import cosine_matrix, matched_latents
from ae_lightning.plots.cosines import recovery_figure
from ae_lightning.plots.dictionaries import history_figure
from ae_lightning.plots.truths import latent_history, truth_history
from ae_lightning.report.units import Units
from ae_lightning.run.codes import by_instance, chosen_moments

_THRESHOLD = 0.95
# Pairs of a truth and a latent at all moments together: 32 moments of 1,024 truths and as many latents, some seconds.
_MOST_PAIRS = 2**25
_FEWEST_MOMENTS, _MOST_MOMENTS = 2, 61
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
        model = units.model
        fits = known is not None and known.shape[-1] == model.input_size and not model.needs_targets
        self._true = known.cpu() if fits and known is not None else None

    def fitting(self) -> dict[str, Callable[[], Figure]]:
        """The figures that the run allows, by name; none where the truth is not known."""
        if self._true is None:
            return {}
        figures: dict[str, Callable[[], Figure]] = {"recovery": self.recovery}
        if self._logged():
            figures["recovery_over_training"] = self.history
        if self._units.have_history:
            figures |= {"truths_over_training": self.truths, "latents_over_training": self.latents}
        return figures

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

    def truths(self) -> Figure:
        """|cosine| of each truth with the latent matched to it, at each snapshot; of instances, the first.

        Of more than 61 snapshots so many are shown, and fewer where there are more than half a million pairs of a truth
        and a latent: 32 of 1,024 truths and as many latents, and two at least.

        Raises:
            ValueError: The weights of a snapshot are not finite.
        """
        return truth_history(self._steps, self._tracked.cosine_of, self._of_first)

    def latents(self) -> Figure:
        """How many latents stand for a truth at each of these snapshots, and are born, die and swap between them.

        Raises:
            ValueError: The weights of a snapshot are not finite.
        """
        events = self.events
        standing = (events.truth_of >= 0).sum(dim=1)
        born, died, swapped = (which.sum(dim=1) for which in (events.born, events.died, events.swapped))
        most = min(self._units.model.latent_size, self._tracked.latent_of.shape[1])
        return latent_history(self._steps, standing, born, died, swapped, most, self._of_first)

    @cached_property
    def events(self) -> Events:
        """Births, deaths and swaps of latents between these snapshots."""
        return latent_events(self._tracked, self._units.model.latent_size)

    @cached_property
    def _steps(self) -> list[int]:
        assert self._true is not None
        pairs = len(self._true) * self._units.model.latent_size
        most = min(max(_MOST_PAIRS // pairs, _FEWEST_MOMENTS), _MOST_MOMENTS)
        return chosen_moments(list(self._units.run.snapshots), most)

    @cached_property
    def _tracked(self) -> Tracked:
        assert self._true is not None
        return track_truths((self._units.written_at(step).cpu() for step in self._steps), self._true)

    @property
    def _of_first(self) -> str:
        count = self._units.model.instances
        return "" if count is None else f"the first of {count} instances"

    def _logged(self) -> list[str]:
        metrics = self._units.run.metrics
        return [name for name in _HISTORY if name in metrics and bool(np.isfinite(metrics[name]).any())]
