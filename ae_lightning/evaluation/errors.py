"""Errors of a model on a whole set, and those of what it must beat: the mean image, and PCA of the same width."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from ae_lightning.analysis.moments import Components, Moments, components_of
from ae_lightning.data.in_memory import InMemoryDataset
from ae_lightning.data.loader import seeded_generator
from ae_lightning.errors import DataError
from ae_lightning.metrics.reconstruction import ReconstructionError
from ae_lightning.models.base import Autoencoder
from ae_lightning.nn.precision import adding_device, like_weights

# Samples, and numbers in them, that the baselines take at a time: 8 MB in float64.
_CHUNK = 4096
_CHUNK_NUMBERS = 1 << 20
# The covariance has as many numbers as that of one instance of 4,096 entries: 128 MB.
_LARGEST_COVARIANCE = 4096**2
# Beyond that, samples drawn at random stand for all: so many of them, and numbers in them, 256 MB in float32.
_MOST_DRAWN = 20_000
_MOST_DRAWN_NUMBERS = 1 << 26
_SEED = 0


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


class Baselines:
    """The mean image and principal components of a training set, of each instance's own where it has its own.

    The set is read in pieces. Mean and covariance are added up in float64 and exact while the covariance has at most
    as many numbers as that of samples of 4,096 entries; beyond that both come from samples drawn at random, 20,000
    of them or as many as have 2²⁶ numbers, always the same ones.

    Args:
        train: The training samples.
        components: Number of principal components, capped at what the data have.
        own: Number of instances where each has samples of its own, None where all share them.
        device: Where they are computed.
        dtype: Format in which samples are reconstructed, that of the model's weights.
    """

    def __init__(
        self,
        train: InMemoryDataset,
        components: int,
        own: int | None = None,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self._own = own
        self._device = adding_device(device)
        self._dtype = torch.float64 if dtype == torch.float64 else torch.float32
        size = math.prod(train.take(1)[0].shape[1:])
        copies = own or 1
        self._chunk = max(1, min(_CHUNK, _CHUNK_NUMBERS // size))
        self._shape = (size,) if own is None else (own, size // own)
        drawn = None
        if copies * self._shape[-1] ** 2 > _LARGEST_COVARIANCE:
            drawn = max(2, min(_MOST_DRAWN, _MOST_DRAWN_NUMBERS // size))
        #: Training samples that stand for all; all of them where they could be read in pieces.
        self.samples = len(train) if drawn is None else min(drawn, len(train))
        #: Whether these were drawn at random from more.
        self.are_drawn = self.samples < len(train)
        most = min(components, self.samples)
        self._fit = (self._exact(train, most) if drawn is None else self._of_drawn(train, most)).to(self._dtype)
        if not self._fit.mean.isfinite().all():
            raise DataError("the baselines need finite training samples, but some are NaN or infinite")

    @property
    def components(self) -> int:
        """Principal components that there are."""
        return self._fit.vectors.shape[-2]

    def errors(self, dataset: InMemoryDataset) -> dict[str, dict[str, Any]]:
        """Errors of `mean_image` and `pca` on a set, as `ErrorMeter` answers them."""
        return {name: meter.compute() for name, meter in self.measure(dataset).items()}

    def measure(self, dataset: InMemoryDataset) -> dict[str, ErrorMeter]:
        """What `mean_image` and `pca` leave of a set."""
        meters = {name: ErrorMeter(self._own, self._device) for name in _RECONSTRUCTIONS}
        for x, _ in dataset.batches(self._chunk):
            rows = self._rows(x).to(self._device, self._dtype)
            for name, meter in meters.items():
                meter.update(rows, _RECONSTRUCTIONS[name](self._fit, rows))
        return meters

    def _rows(self, x: Tensor) -> Tensor:
        """Samples (n, *input_shape) as rows (n, width); of each instance's own, (instances, n, width)."""
        return x.flatten(1) if self._own is None else x.movedim(1, 0).flatten(2)

    def _exact(self, train: InMemoryDataset, most: int) -> Components:
        moments = Moments(self._shape, self._device)
        for x, _ in train.batches(self._chunk):
            moments.add(self._rows(x))
        return moments.components(most)

    def _of_drawn(self, train: InMemoryDataset, most: int) -> Components:
        drawn = train.drawn(self.samples, seeded_generator(_SEED))
        rows = torch.empty(*self._shape[:-1], self.samples, self._shape[-1], dtype=self._dtype, device=self._device)
        start = 0
        for x, _ in drawn.batches(self._chunk):
            rows[..., start : start + len(x), :] = self._rows(x)
            start += len(x)
        return components_of(rows, most, seeded_generator(_SEED))


_RECONSTRUCTIONS: dict[str, Callable[[Components, Tensor], Tensor]] = {
    "mean_image": lambda fit, rows: fit.mean.unsqueeze(-2).expand_as(rows),
    "pca": Components.reconstruct,
}
