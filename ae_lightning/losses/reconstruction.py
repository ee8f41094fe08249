"""Reconstruction losses.

One reduction for all of them: the mean over pixels and over the batch ("per pixel"), summed over instances where a
leading dimension holds independent copies. The gradient of each instance
is then what it would be if that instance were trained alone. Multiply by the number of pixels for the value per
image.
"""

from collections.abc import Callable
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ae_lightning.nn.affine import samples_side_by_side
from ae_lightning.nn.precision import at_least_float32

ReconstructionLossName = Literal["mse", "bce", "mae"]
"""Mean squared error, binary cross-entropy (in nats), mean absolute error."""


def mse(x_hat: Tensor, x: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean squared error per pixel, each pixel's multiplied by its weight (broadcastable to x) if there is one."""
    return F.mse_loss(x_hat, x) if weight is None else (F.mse_loss(x_hat, x, reduction="none") * weight).mean()


def mae(x_hat: Tensor, x: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean absolute error per pixel, weighted as in `mse`."""
    return F.l1_loss(x_hat, x) if weight is None else (F.l1_loss(x_hat, x, reduction="none") * weight).mean()


def bce(x_hat: Tensor, x: Tensor, weight: Tensor | None = None) -> Tensor:
    """Binary cross-entropy per pixel in nats, weighted as in `mse`; both arguments are probabilities in [0, 1].

    Its minimum is not zero: a grey target x costs its own entropy −x ln x − (1−x) ln(1−x). Logarithms are cut off
    at −100, as in `torch.nn.functional.binary_cross_entropy`.
    """
    return F.binary_cross_entropy(x_hat, x, weight)


_LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor | None], Tensor]] = {"mse": mse, "bce": bce, "mae": mae}


def reconstruction_loss(
    name: ReconstructionLossName,
    x_hat: Tensor,
    x: Tensor,
    instances: int | None = None,
    weight: Tensor | None = None,
) -> Tensor:
    """Return the loss called `name`, computed in float32 or wider.

    Args:
        name: `mse`, `bce` or `mae`.
        x_hat: Reconstruction (batch, …), or (instances, batch, …).
        x: Target of the same shape; without the leading dimension it is shared by all instances.
        instances: Size of the leading dimension, or None where there is none.
        weight: Factors of the pixels' losses, broadcastable to x_hat; the mean is not divided by their sum.

    Returns:
        A scalar: mean over batch and pixels, sum over instances.

    Raises:
        ValueError: `name` is unknown.
    """
    if name not in _LOSSES:
        raise ValueError(f"unknown reconstruction loss {name!r}; known are {', '.join(_LOSSES)}")
    # Half-precision differences of nearly equal numbers are mostly rounding, and CUDA's autocast refuses bce there.
    x_hat = at_least_float32(x_hat)
    x = x.to(x_hat.dtype)
    mean = _LOSSES[name](*_as_they_lie(x_hat, x.expand_as(x_hat), weight))
    return mean if instances is None else instances * mean


def _as_they_lie(x_hat: Tensor, x: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Exchange the last two axes where samples lie side by side: torch gives a loss's gradient the order of the axes.

    Over all of them the mean is taken anyway.
    """
    if not samples_side_by_side(x_hat):
        return x_hat, x, weight
    return x_hat.mT, x.mT, None if weight is None else torch.atleast_2d(weight).mT
