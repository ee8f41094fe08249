"""Errors of a model on a whole set."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ae_lightning.data.in_memory import InMemoryDataset
from ae_lightning.metrics.reconstruction import ReconstructionError
from ae_lightning.models.base import Autoencoder
from ae_lightning.nn.precision import adding_device, like_weights


class ErrorMeter:
    """Squared errors of reconstructions that come in batches, of which nothing is kept but sums.

    Args:
        own: Number of instances where each has samples of its own, None where all share them.
        device: Where sums are added up.
    """

    def __init__(self, own: int | None = None, device: torch.device | str = "cpu") -> None:
        self._own = own is not None
        self._device = adding_device(device)
        # Evaluation is the first process's own business, also where several trained.
        self._metrics = [
            ReconstructionError(sync_on_compute=False).to(self._device) for _ in range(1 if own is None else own)
        ]
        self._samples = 0
        self._sum = self._sum_of_squares = torch.zeros((), dtype=torch.float64, device=self._device)

    def update(self, x: Tensor, x_hat: Tensor) -> None:
        """Add a batch.

        Args:
            x: Samples (batch, *input_shape), or (instances, batch, *input_shape) of each instance's own.
            x_hat: Reconstructions, shaped as x; those of shared samples may have leading instances.
        """
        x, x_hat = x.to(self._device), x_hat.to(self._device)
        pairs = list(zip(x, x_hat, strict=True)) if self._own else [(x, x_hat)]
        for metric, pair in zip(self._metrics, pairs, strict=True):
            metric.update(*pair)
        batch_axis = 1 if self._own or x_hat.ndim > x.ndim else 0
        errors = (x_hat - x).square().flatten(batch_axis + 1).mean(-1, dtype=torch.float64)
        self._samples += errors.shape[-1]
        self._sum = self._sum + errors.sum(-1)
        self._sum_of_squares = self._sum_of_squares + errors.square().sum(-1)

    def compute(self) -> dict[str, Any]:
        """Answer the numbers; with instances they are means over them.

        Returns:
            What `ReconstructionError` answers, the fractions of variance about each instance's own mean sample; and
            `mse_per_pixel_std`: the standard deviation over samples of a sample's error, the mean over its pixels. It
            is that of the set itself (n in the denominator), and says how much samples differ, not how well the
            mean is known. What is not finite is None, with the reason beside it, such as `fvu_reason`.
        """
        rows = [metric.compute() for metric in self._metrics]
        means = {name: torch.stack([row[name] for row in rows]).mean() for name in rows[0]}
        return _told({**means, "mse_per_pixel_std": self._spread().mean()})

    def each(self) -> list[dict[str, Any]]:
        """The same numbers for each instance alone; a single entry where there are none."""
        rows = [metric.each() for metric in self._metrics]
        columns = {name: torch.stack([row[name] for row in rows]).flatten() for name in rows[0]}
        columns["mse_per_pixel_std"] = self._spread().flatten()
        count = len(columns["mse_per_pixel_std"])
        return [_told({name: column[i] for name, column in columns.items()}) for i in range(count)]

    def _spread(self) -> Tensor:
        mean = self._sum / self._samples
        return (self._sum_of_squares / self._samples - mean.square()).clamp(min=0).sqrt()


def _told(found: Mapping[str, Tensor]) -> dict[str, Any]:
    """Numbers as plain ones; the reason beside those that are not finite."""
    numbers: dict[str, Any] = {name: float(value) for name, value in found.items()}
    why = NO_VARIANCE if math.isfinite(numbers["mse_per_pixel"]) else NOT_FINITE
    for name in [name for name, number in numbers.items() if not math.isfinite(number)]:
        numbers |= {name: None, f"{name}_reason": why}
    return numbers


NO_VARIANCE = "the samples of this set are all alike"
NOT_FINITE = "reconstructions are not finite, or too large to square"


@torch.no_grad()
def model_errors(model: Autoencoder, dataset: InMemoryDataset, batch_size: int, own: int | None = None) -> ErrorMeter:
    """The errors of a model on a set; no part of the loss has a weight here."""
    meter = ErrorMeter(own, model.device)
    for batch in dataset.batches(batch_size):
        x, target = (like_weights(model, part) for part in model.pair(batch))
        meter.update(target, model(x).x_hat)
    return meter


@torch.no_grad()
def errors_of_parts(
    model: Autoencoder, dataset: InMemoryDataset, batch_size: int, own: int | None = None
) -> dict[str, ErrorMeter]:
    """The same of each part of the output that the model names, see `Autoencoder.output_parts`; none of most models."""
    meters = {name: ErrorMeter(own, model.device) for name in model.output_parts}
    for batch in dataset.batches(batch_size) if meters else ():
        x, target = (like_weights(model, part) for part in model.pair(batch))
        flat, x_hat = (samples.flatten(-len(model.output_shape)) for samples in (target, model(x).x_hat))
        for name, meter in meters.items():
            where = model.output_parts[name]
            meter.update(flat[..., where], x_hat[..., where])
    return meters
