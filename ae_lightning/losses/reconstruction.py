"""Reconstruction losses.

`mse`, `bce` and `mae` are means over pixels and over the batch ("per pixel"); multiply by the number of pixels for the
value per image. `mse_sum` is that value of `mse`: the sum over a sample's pixels, mean over the batch. `fvu` is a ratio
of two sums over the batch. Each is summed over instances where a leading dimension holds independent copies, so that
the gradient of each instance is what it would be if that instance were trained alone.

A coefficient beside one of them means another beside the next. SAELens and dictionary_learning have `mse_sum`: their
coefficients are `d` times those beside `mse`, for `d` pixels. sparsify has `fvu`.
"""

import math
from collections.abc import Callable
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from ae_lightning.nn.affine import samples_side_by_side
from ae_lightning.nn.centering import centered
from ae_lightning.nn.precision import at_least_float32

ReconstructionLossName = Literal["mse", "bce", "mae", "mse_sum", "fvu"]
"""Mean squared error, binary cross-entropy (in nats), mean absolute error: each per pixel. Squared error per sample
(sum over pixels, mean over the batch). Fraction of the batch's variance that is unexplained."""


def mse(x_hat: Tensor, x: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean squared error per pixel, each pixel's multiplied by its weight (broadcastable to x) if there is one."""
    return F.mse_loss(x_hat, x) if weight is None else (F.mse_loss(x_hat, x, reduction="none") * weight).mean()


def mae(x_hat: Tensor, x: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean absolute error per pixel, weighted as in `mse`."""
    return F.l1_loss(x_hat, x) if weight is None else (F.l1_loss(x_hat, x, reduction="none") * weight).mean()


def bce(x_hat: Tensor, x: Tensor, weight: Tensor | None = None) -> Tensor:
    """Binary cross-entropy per pixel in nats, weighted as in `mse`; both arguments are probabilities in [0, 1].

    Its minimum is not zero: a gray target x costs its own entropy −x ln x − (1−x) ln(1−x). Logarithms are cut off
    at −100, as in `torch.nn.functional.binary_cross_entropy`.
    """
    return F.binary_cross_entropy(x_hat, x, weight)


def mse_sum(x_hat: Tensor, x: Tensor, weight: Tensor | None = None) -> Tensor:
    """Squared error of a sample, (batch, …): sum over its pixels, mean over the batch, weighted as in `mse`."""
    return mse(x_hat, x, weight) * x_hat[0].numel()


def fvu(x_hat: Tensor, x: Tensor, weight: Tensor | None = None, sample_axis: int = 0) -> Tensor:
    """Fraction of variance unexplained, Σ(x̂ − x)² / Σ(x − x̄)², where x̄ is the batch's mean of each pixel.

    Both sums are over pixels and batch, each pixel's squares multiplied by its weight if there is one: a factor that
    all weights share cancels. Being a ratio, its mean over the parts of a batch (accumulated, or of several processes)
    is the mean of the parts' ratios, and not the ratio of the whole: parts that vary little count as much as others.

    A batch that does not vary, of one sample or of equal ones, has no such fraction: 0 stands for it, with no gradient.

    Args:
        x_hat: Reconstruction (…, batch, *shape).
        x: Target, of the same shape; without leading dimensions it is shared.
        weight: Factors, broadcastable to x_hat.
        sample_axis: Axis of x_hat that counts samples; what stands before it is kept apart.

    Returns:
        A fraction for each of what stands before the batch (…).

    Source: Belrose et al., sparsify (https://github.com/EleutherAI/sparsify).
    """
    axis = sample_axis - x_hat.ndim
    error = (x_hat - x.expand_as(x_hat)).square()
    spread = centered(x, axis)[1].square()
    if weight is not None:
        error, spread = error * weight, spread * weight
    pixels_and_batch = tuple(range(axis, 0))
    unexplained, variance = error.sum(pixels_and_batch), spread.sum(pixels_and_batch)
    varies = variance > 0
    # Dividing by 1 where nothing varies, and not by 0: the gradient would be NaN though `where` leaves the value out.
    return torch.where(varies, unexplained / torch.where(varies, variance, 1), 0)


_MEANS: dict[str, Callable[[Tensor, Tensor, Tensor | None], Tensor]] = {"mse": mse, "bce": bce, "mae": mae}


def reconstruction_loss(
    name: ReconstructionLossName,
    x_hat: Tensor,
    x: Tensor,
    instances: int | None = None,
    weight: Tensor | None = None,
    each: bool = False,
) -> Tensor:
    """Return the loss called `name`, computed in float32 or wider.

    Args:
        name: `mse`, `bce`, `mae`, `mse_sum` or `fvu`.
        x_hat: Reconstruction (batch, …), or (instances, batch, …).
        x: Target of the same shape; without the leading dimension it is shared by all instances.
        instances: Size of the leading dimension, or None where there is none.
        weight: Factors of the pixels' losses, broadcastable to x_hat; a mean is not divided by their sum.
        each: Whether to answer the loss of each instance, (instances,), as it is alone, in place of their sum.

    Returns:
        A scalar: sum over instances of the mean over batch and pixels (`mse`, `bce`, `mae`), of the mean over the batch
        of the sum over pixels (`mse_sum`), or of the ratio of two such sums (`fvu`).

    Raises:
        ValueError: `name` is unknown.
    """
    known = get_args(ReconstructionLossName)
    if name not in known:
        raise ValueError(f"unknown reconstruction loss {name!r}; known are {', '.join(known)}")
    if each and instances is not None:
        weights = [None] * instances if weight is None else weight.expand_as(x_hat)
        alone = zip(x_hat, x.expand_as(x_hat), weights, strict=True)
        return torch.stack([reconstruction_loss(name, one, target, weight=own) for one, target, own in alone])
    # Half-precision differences of nearly equal numbers are mostly rounding, and CUDA's autocast refuses bce there.
    x_hat = at_least_float32(x_hat)
    x = x.to(x_hat.dtype)
    sample_axis = 0 if instances is None else 1
    if name == "fvu":
        return fvu(x_hat, x, weight, sample_axis).sum()
    mean = _MEANS["mse" if name == "mse_sum" else name](*_as_they_lie(x_hat, x.expand_as(x_hat), weight))
    pixels = math.prod(x_hat.shape[sample_axis + 1 :]) if name == "mse_sum" else 1
    factor = pixels * (1 if instances is None else instances)
    return mean if factor == 1 else factor * mean


def _as_they_lie(x_hat: Tensor, x: Tensor, weight: Tensor | None) -> tuple[Tensor, Tensor, Tensor | None]:
    """Exchange the last two axes where samples lie side by side: torch gives a loss's gradient the order of the axes.

    Over all of them the mean is taken anyway.
    """
    if not samples_side_by_side(x_hat):
        return x_hat, x, weight
    return x_hat.mT, x.mT, None if weight is None else torch.atleast_2d(weight).mT
