"""Reconstruction error of a whole evaluated set, in the units people quote."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from ae_lightning.nn.precision import at_least_float32


class ReconstructionError(Metric):
    """Squared error per pixel and per image, and the fractions of variance unexplained and explained.

    ``compute`` answers a dictionary of scalars, each a float64 tensor:

    - ``mse_per_pixel``: squared error, mean over images and pixels;
    - ``mse_per_image``: squared error, sum over the pixels of an image, mean over images;
    - ``fvu``: Σ‖x − x̂‖² / Σ‖x − x̄‖², where x̄ is the mean of the evaluated set, per pixel. It is 0 for a
      perfect reconstruction and 1 for always answering the mean image; NaN or infinite where the set does not
      vary;
    - ``explained_variance``: 1 − ``fvu``, which the literature on sparse autoencoders calls so. It is
      ``sklearn.metrics.r2_score`` and ``torchmetrics.R2Score`` with ``multioutput="variance_weighted"`` (but that
      these leave out the error in pixels that never change), and not their ``explained_variance_score`` and
      ``ExplainedVariance``, which do not count a constant error.

    Sums are accumulated in float64, so that the numbers do not depend on how the set is cut into batches. Where
    reconstructions have leading instance dimensions these are means over them, and ``each`` answers the same numbers
    for every instance.

    Args:
        **kwargs: Arguments of ``torchmetrics.Metric``.
    """

    is_differentiable = False
    higher_is_better = False
    full_state_update = False
    squared_error: Tensor
    images: Tensor
    pixel_sum: Tensor
    square_sum: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in ("squared_error", "pixel_sum", "square_sum"):
            self.add_state(name, torch.zeros((), dtype=torch.float64), dist_reduce_fx="sum")
        self.add_state("images", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, x: Tensor, x_hat: Tensor) -> None:
        """Add a batch.

        Args:
            x: Inputs of shape (batch, ...).
            x_hat: Reconstructions of the same shape, or with leading instance dimensions. Inputs that differ per
                instance are passed with the instances flattened into the batch.

        Raises:
            ValueError: If the trailing dimensions of ``x_hat`` are not the shape of ``x``.
        """
        if x.ndim < 2 or x_hat.shape[-x.ndim :] != x.shape:
            raise ValueError(
                f"reconstructions of shape {tuple(x_hat.shape)} do not end in the shape of the inputs, "
                f"(batch, ...) = {tuple(x.shape)}"
            )
        x, x_hat = at_least_float32(x.detach()), at_least_float32(x_hat.detach())
        errors = (x_hat - x).square().flatten(x_hat.ndim - x.ndim)
        # The first update broadcasts the scalar to (...), so that the instances need not be told beforehand.
        self.squared_error = self.squared_error + errors.sum(dim=-1, dtype=torch.float64)
        flat = x.flatten(1)
        self.pixel_sum = self.pixel_sum + flat.sum(dim=0, dtype=torch.float64)
        self.square_sum = self.square_sum + flat.double().square().sum()
        self.images = self.images + len(x)

    def compute(self) -> dict[str, Tensor]:
        """Answer the numbers; every process must have seen at least one batch."""
        return self._of(self.squared_error.mean())

    def each(self) -> dict[str, Tensor]:
        """The same numbers for each instance, shape (...): the leading dimensions of the reconstructions.

        They are those of this process: of several, each would answer for its own batches.
        """
        return self._of(self.squared_error)

    def _of(self, squared_error: Tensor) -> dict[str, Tensor]:
        per_image = squared_error / self.images
        variation = self.square_sum - self.pixel_sum.square().sum() / self.images
        # What rounding leaves of a set that does not vary is no variance.
        variation = torch.where(variation <= 1e-13 * self.square_sum, 0.0, variation)
        fvu = squared_error / variation
        return {
            "mse_per_pixel": per_image / self.pixel_sum.numel(),
            "mse_per_image": per_image,
            "fvu": fvu,
            "explained_variance": 1 - fvu,
        }
