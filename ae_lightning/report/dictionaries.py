"""Which figures show a sparse dictionary in the course of its training, its thresholds and its prefixes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from matplotlib.figure import Figure

from ae_lightning.data.in_memory import InMemoryDataset
from ae_lightning.evaluation.errors import ErrorMeter
from ae_lightning.models.base import Autoencoder
from ae_lightning.models.matryoshka_sae import MatryoshkaSAE
from ae_lightning.models.shallow import ShallowAutoencoder
from ae_lightning.models.sparse_dictionary import SparseDictionary
from ae_lightning.nn.jumprelu import JumpReLU
from ae_lightning.nn.modes import evaluation_mode
from ae_lightning.nn.precision import like_weights
from ae_lightning.plots.dictionaries import history_figure, prefix_figure, threshold_figure
from ae_lightning.run.run import Run

IN_TRAINING = "in training: it fired on none of the last dead_after samples"
IN_EVALUATION = "evaluated: it fires on no validation sample"
"""The two definitions of a dead latent, as a legend says them."""


class DictionaryFigures:
    """The figures of a shallow model with latents that fire or do not, made when asked for.

    Numbers of populations are means over instances; thresholds by latent and prefixes are those of the first.

    Args:
        run: The run, whose data are set up.
        model: Its model with the weights to show.
    """

    def __init__(self, run: Run, model: Autoencoder) -> None:
        self.run = run
        self.model = model

    def fitting(self) -> dict[str, Callable[[], Figure]]:
        """The figures that this run allows, by name."""
        figures: dict[str, Callable[[], Figure]] = {}
        if not (isinstance(self.model, ShallowAutoencoder) and self.model.fires_above_zero):
            return figures
        if self._logged("sparsity/l0"):
            figures["active_latents"] = self.active_latents
        if self._logged("sparsity/dead_fraction") or self._logged("measures/dead_latents"):
            figures["dead_latents"] = self.dead_latents
        if isinstance(self.model.dictionary.activation, JumpReLU) or self._logged("measures/threshold"):
            figures["thresholds"] = self.thresholds
        if isinstance(self.model, MatryoshkaSAE):
            figures["prefixes"] = self.prefixes
        return figures

    def active_latents(self) -> Figure:
        """L0 on the validation set over training, and what the settings ask for."""
        asked = self.model.asked_l0 if isinstance(self.model, SparseDictionary) else {}
        curves = {"L0 on the validation set": self.run.series("sparsity/l0")}
        if self._logged("measures/k"):
            curves["k in training"] = self.run.series("measures/k")
        return history_figure(curves, "active latents of a sample", asked)

    def dead_latents(self) -> Figure:
        """Dead latents over training by each of the two definitions, as far as they were counted."""
        curves = {}
        if self._logged("measures/dead_latents"):
            curves[IN_TRAINING] = self.run.series("measures/dead_latents")
        if self._logged("sparsity/dead_fraction"):
            steps, fraction = self.run.series("sparsity/dead_fraction")
            curves[IN_EVALUATION] = (steps, fraction * self.model.latent_size)
        return history_figure(curves, f"dead of {self.model.latent_size} latents")

    def thresholds(self) -> Figure:
        """Thresholds of latents, where each has its own, and the threshold over training, where it was logged."""
        assert isinstance(self.model, ShallowAutoencoder)
        activation = self.model.dictionary.activation
        values = None
        if isinstance(activation, JumpReLU):
            values = activation.threshold.detach().cpu()
            values = values if self.model.instances is None else values[0]
        history = self.run.series("measures/threshold") if self._logged("measures/threshold") else None
        weighted = bool(getattr(activation, "weighted", False))
        label = "threshold of pre-activation" + (" × row norm" if weighted else "")
        return threshold_figure(values, history, label)

    def prefixes(self) -> Figure:
        """Errors of the prefixes of a Matryoshka autoencoder on the test set, in the data's units."""
        assert isinstance(self.model, MatryoshkaSAE)
        numbers = prefix_errors(self.model, self.run.data.test_set, self.run.data.eval_batch_size)
        # What is not a number, the figure refuses.
        errors, explained = (
            [np.nan if of[name] is None else of[name] for of in numbers]
            for name in ("mse_per_pixel", "explained_variance")
        )
        return prefix_figure(self.model.widths, errors, explained)

    def _logged(self, name: str) -> bool:
        values = self.run.metrics.get(name)
        return values is not None and bool(np.isfinite(values).any())


@torch.no_grad()
def prefix_errors(model: MatryoshkaSAE, dataset: InMemoryDataset, batch_size: int) -> list[dict[str, float | None]]:
    """Errors of each prefix on a set, the narrowest first, as `ErrorMeter` answers them; of instances, the first.

    Args:
        model: The model.
        dataset: The set.
        batch_size: Samples to encode at once.
    """
    meters = [ErrorMeter() for _ in model.widths]
    with evaluation_mode(model):
        for batch in dataset.batches(batch_size):
            x, target = model.pair(batch)
            several = target.ndim > len(model.output_shape) + 1
            for meter, x_hat in zip(meters, model.prefix_reconstructions(like_weights(model, x)), strict=True):
                meter.update(target[0] if several else target, x_hat if model.instances is None else x_hat[0])
    return [meter.compute() for meter in meters]
