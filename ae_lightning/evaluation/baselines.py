"""What a model must beat: the mean image, and PCA or a linear regression of the same width."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ae_lightning.analysis.moments import Components, Moments, components_of
from ae_lightning.analysis.regression import JointMoments, Regression
from ae_lightning.data.in_memory import InMemoryDataset
from ae_lightning.data.loader import seeded_generator
from ae_lightning.errors import DataError
from ae_lightning.evaluation.errors import ErrorMeter
from ae_lightning.nn.precision import adding_device

# Samples, and numbers in them, that the baselines take at a time: 8 MB in float64.
_CHUNK = 4096
_CHUNK_NUMBERS = 1 << 20
# The covariance has as many numbers as that of one instance of 4,096 entries: 128 MB.
_LARGEST_COVARIANCE = 4096**2
# Beyond that, samples drawn at random stand for all: so many of them, and numbers in them, 256 MB in float32.
_MOST_DRAWN = 20_000
_MOST_DRAWN_NUMBERS = 1 << 26
# Principal components that a regression reads of such wide samples, at most.
_REGRESSORS = 1024
_SEED = 0


class Baselines:
    """The mean image and principal components of a training set, of each instance's own where it has its own.

    Where the set has targets they are the mean target, and linear regression of as low a rank, of which PCA is the case
    that the target is the sample.

    The set is read in pieces. Mean and covariance are added up in float64 and exact while the covariance has at most
    as many numbers as that of samples of 4,096 entries; beyond that both come from samples drawn at random, 20,000
    of them or as many as have 2²⁶ numbers, always the same ones; a regression is then that on the 1,024 leading
    principal components of these samples, or a quarter as many as there are samples.

    Args:
        train: The training samples.
        components: Number of principal components, or rank of the regression, capped at what the data have.
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
        x, _, *targets = train.take(1)
        self._shape = _row_shape(x, own)
        self._target_shape = _row_shape(targets[0], own) if targets else self._shape
        size = max(math.prod(shape) for shape in (self._shape, self._target_shape))
        self._chunk = max(1, min(_CHUNK, _CHUNK_NUMBERS // size))
        drawn = None
        if (own or 1) * max(self._shape[-1], self._target_shape[-1]) ** 2 > _LARGEST_COVARIANCE:
            drawn = max(2, min(_MOST_DRAWN, _MOST_DRAWN_NUMBERS // size))
        #: Training samples that stand for all; all of them where they could be read in pieces.
        self.samples = len(train) if drawn is None else min(drawn, len(train))
        #: Whether these were drawn at random from more.
        self.are_drawn = self.samples < len(train)
        most = min(components, self.samples)
        fit: Components | Regression
        if targets:
            fit = self._regression(train, most, wide=drawn is not None)
        else:
            fit = self._exact(train, most) if drawn is None else self._of_drawn(train, most)
        self._fit = fit.to(self._dtype)
        if not self._fit.mean.isfinite().all():
            raise DataError("the baselines need finite training samples, but some are NaN or infinite")

    @property
    def components(self) -> int:
        """Principal components that there are, or the rank of the regression."""
        return self._fit.vectors.shape[-2]

    def codes(self, x: Tensor) -> Tensor:
        """Coordinates of samples (n, *input_shape) along the principal components, (n, components), on the CPU.

        Of data without targets, and samples that all instances share.
        """
        assert isinstance(self._fit, Components)
        rows = self._rows(x).to(self._device, self._dtype)
        return ((rows - self._fit.mean) @ self._fit.vectors.mT).cpu()

    def errors(self, dataset: InMemoryDataset) -> dict[str, dict[str, Any]]:
        """Errors of `mean_image` and `pca` on a set, as `ErrorMeter` answers them."""
        return {name: meter.compute() for name, meter in self.measure(dataset).items()}

    def measure(self, dataset: InMemoryDataset) -> dict[str, ErrorMeter]:
        """What `mean_image` and `pca` leave of a set."""
        meters = {name: ErrorMeter(self._own, self._device) for name in _RECONSTRUCTIONS}
        for x, _, *targets in dataset.batches(self._chunk):
            rows = self._rows(x).to(self._device, self._dtype)
            goal = self._rows(targets[0]).to(self._device, self._dtype) if targets else rows
            for name, meter in meters.items():
                meter.update(goal, _RECONSTRUCTIONS[name](self._fit, rows).expand_as(goal))
        return meters

    def _rows(self, x: Tensor) -> Tensor:
        """Samples (n, *input_shape) as rows (n, width); of each instance's own, (instances, n, width)."""
        return x.flatten(1) if self._own is None else x.movedim(1, 0).flatten(2)

    def _exact(self, train: InMemoryDataset, most: int) -> Components:
        moments = Moments(self._shape, self._device)
        for x, *_ in train.batches(self._chunk):
            moments.add(self._rows(x))
        return moments.components(most)

    def _regression(self, train: InMemoryDataset, rank: int, wide: bool) -> Regression:
        lead = self._shape[:-1]
        if not wide:
            moments = JointMoments(lead, self._shape[-1], self._target_shape[-1], self._device)
            for x, _, *targets in train.batches(self._chunk):
                moments.add(self._rows(x), self._rows(targets[0]))
            return moments.regression(rank)
        leading = self._of_drawn(train, min(_REGRESSORS, max(1, self.samples // 4)))
        moments = JointMoments(lead, leading.vectors.shape[-2], self._target_shape[-1], self._device)
        for x, _, *targets in train.drawn(self.samples, seeded_generator(_SEED)).batches(self._chunk):
            rows = self._rows(x).to(leading.mean)
            moments.add((rows - leading.mean.unsqueeze(-2)) @ leading.vectors.mT, self._rows(targets[0]))
        inner = moments.regression(rank)
        vectors = leading.vectors.double()
        center = leading.mean.double() + (inner.center.unsqueeze(-2) @ vectors).squeeze(-2)
        return Regression(center, vectors.mT @ inner.reading, inner.vectors, inner.mean)

    def _of_drawn(self, train: InMemoryDataset, most: int) -> Components:
        drawn = train.drawn(self.samples, seeded_generator(_SEED))
        rows = torch.empty(*self._shape[:-1], self.samples, self._shape[-1], dtype=self._dtype, device=self._device)
        start = 0
        for x, *_ in drawn.batches(self._chunk):
            rows[..., start : start + len(x), :] = self._rows(x)
            start += len(x)
        return components_of(rows, most, seeded_generator(_SEED))


def _row_shape(sample: Tensor, own: int | None) -> tuple[int, ...]:
    """Shape of a row of samples (n, …): (width,), or (instances, width) where each instance has its own."""
    size = math.prod(sample.shape[1:])
    return (size,) if own is None else (own, size // own)


_RECONSTRUCTIONS: dict[str, Callable[[Components | Regression, Tensor], Tensor]] = {
    "mean_image": lambda fit, rows: fit.mean.unsqueeze(-2),
    "pca": lambda fit, rows: fit.reconstruct(rows),
}
