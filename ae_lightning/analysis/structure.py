"""How structured the rows of weights are as images: strokes and spots, or noise."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def spatial_autocorrelation(rows: Tensor, image_shape: tuple[int, ...], mask: Tensor | None = None) -> Tensor:
    """Moran's I of each row as an image: how alike neighboring pixels are.

    With d the deviation of a pixel from the mean of its channel, N pixels, and P pairs of pixels that share an edge,

        I = (N / P) · Σ d_a d_b / Σ d²,

    the first sum over the pairs (a, b), the second over the pixels. It is near 1 where neighbors are alike (strokes,
    spots, gradients), −1 for a checkerboard, and −1 / (N − 1) in the mean over white noise, with a standard deviation
    of about 1 / √P (`noise_deviation`). Neither the length nor the sign of a row counts. Moran (1950), "Notes on
    continuous stochastic phenomena".

    Args:
        rows: Weights, (latent, input).
        image_shape: Shape of an input, (h, w) or (…, h, w); what stands before the last two are channels.
        mask: Booleans, (input,), true at pixels that count, such as those that any sample lights; None counts all.

    Returns:
        float64 (latent,); 0 for a row that is constant where it counts, in which there is nothing to see.

    Raises:
        ValueError: If a shape does not fit, or no two neighbors count.
    """
    counted = _counted(rows, image_shape, mask).to(rows.device)
    images = rows.detach().double().reshape(-1, *counted.shape)
    images = images * counted
    mean = images.sum(dim=(2, 3)) / counted.sum(dim=(1, 2)).clamp(min=1)
    deviation = (images - mean[..., None, None]) * counted
    products = (deviation[..., 1:] * deviation[..., :-1]).sum(dim=(1, 2, 3))
    products += (deviation[..., 1:, :] * deviation[..., :-1, :]).sum(dim=(1, 2, 3))
    squares = deviation.square().sum(dim=(1, 2, 3))
    # A constant leaves nothing but what its mean was rounded by.
    rounding = counted.sum() * (1e-12 * images.abs().amax(dim=(1, 2, 3))).square()
    ratio = products / torch.where(squares > rounding, squares, torch.inf)
    return ratio * (int(counted.sum()) / _pairs(counted))


def noise_deviation(image_shape: tuple[int, ...], mask: Tensor | None = None) -> float:
    """About the standard deviation of `spatial_autocorrelation` over images of white noise: 1 / √P for P pairs."""
    size = math.prod(image_shape)
    return _pairs(_counted(torch.empty(0, size), image_shape, mask)) ** -0.5


def _counted(rows: Tensor, image_shape: tuple[int, ...], mask: Tensor | None) -> Tensor:
    """Where pixels count, (channels, h, w)."""
    size = math.prod(image_shape)
    if rows.ndim != 2 or len(image_shape) < 2 or rows.shape[1] != size:
        raise ValueError(f"rows of shape {tuple(rows.shape)} are no images of shape {image_shape}")
    if mask is not None and mask.numel() != size:
        raise ValueError(f"the mask has {mask.numel()} pixels, but an image {size}")
    counted = torch.ones(size, dtype=torch.bool) if mask is None else mask.detach().bool().cpu()
    counted = counted.reshape(-1, *image_shape[-2:])
    if not _pairs(counted):
        raise ValueError(f"images of shape {image_shape} have no two neighbors that count")
    return counted


def _pairs(counted: Tensor) -> int:
    """Pairs of pixels that share an edge and both count."""
    beside = (counted[..., 1:] & counted[..., :-1]).sum()
    return int(beside + (counted[..., 1:, :] & counted[..., :-1, :]).sum())
