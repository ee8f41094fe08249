"""Inputs beside their reconstructions and the signed error, as a figure or an array for TensorBoard."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from ae_lightning.plots.figure import Figure
from ae_lightning.plots.tiles import (
    SIGNED_COLORMAP,
    Array,
    as_images,
    tile,
    to_numpy,
    to_rgb_gray,
    to_rgb_signed,
)

_LEGIBLE_SIDE = 28


def reconstruction_strip(
    x: Any, x_hat: Any, value_range: tuple[float, float] | None = None, n: int = 10, corrupted: Any = None
) -> Figure:
    """Draw three rows: input, reconstruction, and signed error (reconstruction minus input).

    Red is too bright and blue too dark; in images of three channels a channel is brighter or darker than
    gray. The error is in the units of the input, and full color means half the value range, so that two
    figures of the same data can be compared.

    Args:
        x: Inputs of shape (m, ...): images (m, c, h, w) or (m, h, w), or vectors (m, d).
        x_hat: Reconstructions of the same shape.
        value_range: The values shown as black and as white; None takes those of the inputs that are shown.
        n: Number of samples to show, the first of those given.
        corrupted: What was reconstructed from, where that is not the inputs, shaped as they: one more row, below that
            of the inputs, which are then called clean.

    Returns:
        The figure.

    Raises:
        ValueError: If the shapes differ, there are no samples, or they are not images of one or three
            channels.
    """
    samples = to_numpy(x)[:n]
    rows, limit = _views(samples, to_numpy(x_hat)[:n], value_range, None if corrupted is None else corrupted[:n])
    columns, height, width, _ = rows["error"].shape
    # Inches per image; a strip of few entries is drawn taller than its single row would be.
    side = 0.85 * min(1.0, 12 / columns)
    aspect = np.clip(height / width, 0.25, 4)
    tall = max(2.2, len(rows) * (side * aspect + 0.12) + 0.3)
    figure = Figure(figsize=(side * columns + 2.3, tall), layout="constrained")
    axes = figure.subplots(len(rows), columns, squeeze=False)
    for axes_row, (name, images) in zip(axes, rows.items(), strict=True):
        for ax, image in zip(axes_row, images, strict=True):
            ax.imshow(image, interpolation="nearest", aspect="auto")
            ax.set_box_aspect(aspect)
            ax.set(xticks=[], yticks=[])
        axes_row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=11)
    if samples.ndim == 4 and samples.shape[1] == 3:
        axes[-1, 0].set_ylabel("error\n(gray: none)", rotation=0, ha="right", va="center", fontsize=11)
    else:
        _error_bar(figure, axes, limit)
    return figure


def reconstruction_tile(
    x: Any, x_hat: Any, value_range: tuple[float, float] | None = None, corrupted: Any = None
) -> Array:
    """Lay samples out as triplets input | reconstruction | signed error, on one picture for TensorBoard.

    Colors are those of :func:`reconstruction_strip`; images smaller than 28 pixels are enlarged by a whole
    factor.

    Args:
        x: Inputs of shape (n, ...): images (n, c, h, w) or (n, h, w), or vectors (n, d).
        x_hat: Reconstructions of the same shape.
        value_range: The values shown as black and as white; None takes those of the inputs.
        corrupted: What was reconstructed from, where that is not the inputs, shaped as they: shown right after them.

    Returns:
        uint8 array of shape (H, W, 3), the triplets row by row on a near-square picture.

    Raises:
        ValueError: If the shapes differ, there are no samples, or they are not images of one or three
            channels.
    """
    views, _ = _views(to_numpy(x), to_numpy(x_hat), value_range, corrupted)
    scale = math.ceil(_LEGIBLE_SIDE / max(views["error"].shape[1:3]))
    samples = zip(*views.values(), strict=True)
    return tile(np.stack([tile(np.stack(row), columns=len(views), scale=scale) for row in samples]), pad=2)


def _error_bar(figure: Figure, axes: Array, limit: float) -> None:
    scale = ScalarMappable(Normalize(-limit, limit), cmap=SIGNED_COLORMAP)
    bar = figure.colorbar(scale, ax=axes, shrink=0.9, aspect=18, pad=0.02, extend="both")
    bar.set_label("reconstruction − input", fontsize=9)
    bar.ax.tick_params(labelsize=9)


def _views(
    samples: Array, reconstructions: Array, value_range: tuple[float, float] | None, corrupted: Any
) -> tuple[dict[str, Array], float]:
    """RGB of input, reconstruction and error by name, and the error shown in full color."""
    if samples.shape != reconstructions.shape or samples.ndim < 2 or samples.size == 0:
        raise ValueError(
            "inputs and reconstructions must have the same shape (n, ...) with n > 0, "
            f"but theirs are {samples.shape} and {reconstructions.shape}"
        )
    finite = samples[np.isfinite(samples)]
    low, high = value_range or ((finite.min(), finite.max()) if finite.size else (0.0, 1.0))
    limit = float(high - low) / 2 or 1.0
    inputs, outputs = (as_images(images, images.shape[1:]) for images in (samples, reconstructions))
    damaged = {} if corrupted is None else {"corrupted": as_images(corrupted, samples.shape[1:])}
    views = {
        "clean" if damaged else "input": to_rgb_gray(inputs, (low, high)),
        **{name: to_rgb_gray(images, (low, high)) for name, images in damaged.items()},
        "reconstruction": to_rgb_gray(outputs, (low, high)),
        "error": to_rgb_signed(outputs - inputs, limit),
    }
    return views, limit
