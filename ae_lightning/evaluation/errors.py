"""Errors of a model on a whole set, and those of what it must beat: the mean image, and PCA of the same width."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ae_lightning.analysis.pca import Pca, fit_pca
from ae_lightning.data.in_memory import InMemoryDataset
from ae_lightning.metrics.reconstruction import ReconstructionError
from ae_lightning.models.base import Autoencoder
from ae_lightning.nn.precision import like_weights

# Samples that the baselines reconstruct at a time.
_CHUNK = 4096


class ErrorMeter:
    """Squared errors of reconstructions that come in batches, of which nothing is kept but sums.

    Args:
        own: Number of instances where each has samples of its own, None where all share them.
    """

    def __init__(self, own: int | None = None) -> None:
        self._own = own is not None
        # Evaluation is the first process's own business, also where several trained.
        self._metrics = [ReconstructionError(sync_on_compute=False) for _ in range(1 if own is None else own)]
        self._samples = 0
        self._sum = self._sum_of_squares = torch.zeros((), dtype=torch.float64)

    def update(self, x: Tensor, x_hat: Tensor) -> None:
        """Add a batch.

        Args:
            x: Samples (batch, *input_shape), or (instances, batch, *input_shape) of each instance's own.
            x_hat: Reconstructions, shaped as x; those of shared samples may have leading instances.
        """
        x, x_hat = x.cpu(), x_hat.cpu()
        pairs = list(zip(x, x_hat, strict=True)) if self._own else [(x, x_hat)]
        for metric, pair in zip(self._metrics, pairs, strict=True):
            metric.update(*pair)
        batch_axis = 1 if self._own or x_hat.ndim > x.ndim else 0
        errors = (x_hat - x).square().flatten(batch_axis + 1).mean(-1, dtype=torch.float64)
        self._samples += errors.shape[-1]
        self._sum = self._sum + errors.sum(-1)
        self._sum_of_squares = self._sum_of_squares + errors.square().sum(-1)

    def compute(self) -> dict[str, float]:
        """Answer the numbers; with instances they are means over them.

        Returns:
            What `ReconstructionError` answers, the fractions of variance about each instance's own mean sample; and
            `mse_per_pixel_std`: the standard deviation over samples of a sample's error, the mean over its pixels. It
            is that of the set itself (n in the denominator), and says how much samples differ, not how well the
            mean is known.
        """
        rows = [metric.compute() for metric in self._metrics]
        numbers = {name: float(torch.stack([row[name] for row in rows]).mean()) for name in rows[0]}
        mean = self._sum / self._samples
        variance = (self._sum_of_squares / self._samples - mean.square()).clamp(min=0)
        return {**numbers, "mse_per_pixel_std": float(variance.sqrt().mean())}


@torch.no_grad()
def model_errors(
    model: Autoencoder, dataset: InMemoryDataset, batch_size: int, own: int | None = None
) -> dict[str, float]:
    """Errors of a model on a set, as `ErrorMeter` answers them; no part of the loss has a weight here."""
    meter = ErrorMeter(own)
    for x, _ in dataset.batches(batch_size):
        x = like_weights(model, x)
        meter.update(model.as_target(x), model(x).x_hat)
    return meter.compute()


class Baselines:
    """The mean image and principal components of a training set, of each instance's own where it has its own.

    Args:
        train: The training samples.
        components: Number of principal components, capped at what the data have.
        own: Number of instances where each has samples of its own, None where all share them.
    """

    def __init__(self, train: InMemoryDataset, components: int, own: int | None = None) -> None:
        self._own = own
        x = torch.cat([x.cpu() for x, _ in train.batches(_CHUNK)])
        self._fits: list[Pca] = [fit_pca(part, components) for part in self._parts(x)]

    @property
    def components(self) -> int:
        """Principal components that there are."""
        return len(self._fits[0].components)

    def errors(self, dataset: InMemoryDataset) -> dict[str, dict[str, float]]:
        """Errors of `mean_image` and `pca` on a set, as `ErrorMeter` answers them."""
        meters = {name: ErrorMeter(self._own) for name in _RECONSTRUCTIONS}
        for x, _ in dataset.batches(_CHUNK):
            parts = self._parts(x.cpu())
            for name, meter in meters.items():
                made = [_RECONSTRUCTIONS[name](fit, part) for fit, part in zip(self._fits, parts, strict=True)]
                meter.update(self._joined(parts), self._joined(made))
        return {name: meter.compute() for name, meter in meters.items()}

    def _parts(self, x: Tensor) -> Sequence[Tensor]:
        """What is fitted on its own of samples x (batch, …): each instance's, or all together."""
        return [x] if self._own is None else x.unbind(1)

    def _joined(self, parts: Sequence[Tensor]) -> Tensor:
        return parts[0] if self._own is None else torch.stack(list(parts))


def _mean_image(fit: Pca, x: Tensor) -> Tensor:
    return torch.from_numpy(fit.mean).reshape(x.shape[1:]).expand_as(x)


def _through_components(fit: Pca, x: Tensor) -> Tensor:
    return torch.from_numpy(fit.decode(fit.encode(x))).reshape(x.shape)


_RECONSTRUCTIONS: dict[str, Callable[[Pca, Tensor], Tensor]] = {"mean_image": _mean_image, "pca": _through_components}
