"""What the code of a model is like on a whole set, all in all and latent by latent."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from ae_lightning.data.in_memory import InMemoryDataset
from ae_lightning.metrics.codes import Codes
from ae_lightning.metrics.sparsity import L1, FiringDensity, HoyerSparsity, MeanActivation, NearZeroFraction
from ae_lightning.models.base import Autoencoder
from ae_lightning.models.shallow import ShallowAutoencoder
from ae_lightning.models.sparse import SparseAutoencoder
from ae_lightning.models.sparse_dictionary import SparseDictionary
from ae_lightning.nn.precision import adding_device, like_weights
from ae_lightning.run.tables import write_latents

# A convolutional code of more values than this, each a place in a map, gets no row for each.
_MOST_VALUES = 10_000


class LatentMeter:
    """What a model's codes are like; with instances, numbers are means over them unless it is said otherwise.

    A latent of a rectified code fires above zero; of any other code, where it is not exactly zero.

    The mean activation of a latent is that of ReLU(z). Of a code that is nowhere negative this is the mean. Of one that
    may be, it is the rate that the penalty `kl` draws to its target, and says how active a latent is, as far as it is
    positive; the plain mean would be near zero for a busy latent of either sign.

    Args:
        model: The model.
    """

    def __init__(self, model: Autoencoder) -> None:
        self._model = model
        # Evaluation is the first process's own business, also where several trained.
        alone: dict[str, Any] = {"sync_on_compute": False}
        self._device = adding_device(model.device)
        self._positive = FiringDensity(**alone)
        self._nonzero = FiringDensity(two_sided=True, **alone)
        self._mean = MeanActivation(rectified=True, **alone)
        self._scalars: dict[str, L1 | HoyerSparsity | NearZeroFraction] = {
            "l1": L1("sum", **alone),
            "hoyer": HoyerSparsity(nonzero_only=True, **alone),
            "near_zero": NearZeroFraction(1e-3, **alone),
        }
        self._meters: list[Metric] = [self._positive, self._nonzero, self._mean, *self._scalars.values()]
        for meter in self._meters:
            meter.to(self._device)

    @torch.no_grad()
    def measure(self, dataset: InMemoryDataset, batch_size: int) -> None:
        """Encode a set, batch by batch."""
        for x, *_ in dataset.batches(batch_size):
            z = self._codes(like_weights(self._model, x))
            for meter in self._meters:
                meter.update(z)

    def statistics(self) -> dict[str, Any]:
        """The code in a few numbers.

        Returns:
            `active`, `dead`: latents that fired on at least one sample, on none; `l0`: mean number that fire on one
            sample; `l1`: sum of |z| over latents, mean over samples; `hoyer`: Hoyer's measure, mean over samples
            whose code is not zero;
            `near_zero`, `negative`: fractions of the code's values that are within 0.001 of zero, that are below it;
            `mean_activation`: `median`, `min` and `max` over the latents of all instances together.

            Of a model with the penalty `kl` also `target`, and `within_factor_two`: fraction of latents whose mean
            activation lies between half of it and twice.
        """
        return self._statistics(
            self._density(),
            self._mean.compute().cpu(),
            float((self._nonzero.firings - self._positive.firings).double().mean() / self._positive.samples),
            {name: float(metric.compute()) for name, metric in self._scalars.items()},
        )

    def each(self) -> list[dict[str, Any]]:
        """The same numbers for each instance alone; a single entry where there are none."""
        density, activation = (
            part.reshape(-1, self._model.latent_size) for part in (self._density(), self._mean.compute().cpu())
        )
        negative = (self._nonzero.firings - self._positive.firings).double().mean(-1) / self._positive.samples
        columns = {name: metric.each().flatten().tolist() for name, metric in self._scalars.items()}
        return [
            self._statistics(density[i], activation[i], below, {name: column[i] for name, column in columns.items()})
            for i, below in enumerate(negative.flatten().tolist())
        ]

    def _statistics(
        self, density: Tensor, activation: Tensor, negative: float, scalars: Mapping[str, float]
    ) -> dict[str, Any]:
        """What `statistics` answers, from the firing density and mean activation of latents, (…, latent) each."""
        dead = float((density == 0).double().sum(-1).mean())
        # torch's median of an even number of values is the lower of the two in the middle.
        spread = {"median": np.median(activation.numpy()), "min": activation.min(), "max": activation.max()}
        return {
            "active": self._model.latent_size - dead,
            "dead": dead,
            "l0": float(density.sum(-1).mean()),
            **scalars,
            "negative": negative,
            "mean_activation": {name: float(value) for name, value in spread.items()},
            **_nearness_to_target(self._model, activation),
        }

    def write_table(self, path: Path) -> None:
        """Write a row for each latent of each instance as CSV, in one piece; none for the values of large maps.

        Columns are `instance` (0 in a model without instances), `latent` (its number in the flattened code),
        `mean_activation` and `firing_density`, the fraction of samples on which it fires.
        """
        if len(self._model.latent_shape) > 1 and self._model.latent_size > _MOST_VALUES:
            return
        write_latents(path, self._mean.compute().cpu(), self._density())

    def _codes(self, x: Tensor) -> Codes:
        model = self._model
        if isinstance(model, SparseDictionary) and model.is_sparse:
            return model.code(x)
        return model.encode(x).flatten(1 if model.instances is None else 2).to(self._device)

    def _density(self) -> Tensor:
        rectified = isinstance(self._model, ShallowAutoencoder) and self._model.fires_above_zero
        meter = self._positive if rectified else self._nonzero
        return (meter.firings.double() / meter.samples).cpu()  # the meter itself would answer in float32


def _nearness_to_target(model: Autoencoder, activation: Tensor) -> dict[str, float]:
    if not isinstance(model, SparseAutoencoder) or model.penalty != "kl":
        return {}
    near = (activation >= model.target / 2) & (activation <= model.target * 2)
    return {"target": model.target, "within_factor_two": float(near.double().mean())}
