"""The weights of a shallow model as images, one per latent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from ae_lightning.plots.tiles import SIGNED_COLORMAP, Array, as_images, to_numpy, to_rgb_signed

_LABEL_SPACE = 0.28
_GAP = 0.08


def weight_grid(
    vectors: Any,
    image_shape: tuple[int, ...],
    *,
    indices: Sequence[int] | None = None,
    top: int = 64,
    shared_scale: bool = False,
    title: str | None = None,
    mask: Any | None = None,
) -> Figure:
    """Draw the weights of latents as signed images, each under its number.

    Positive weights are red, negative ones blue, zero is white; three channels are drawn as color about gray.

    Args:
        vectors: Weights of shape (latent, input), a row per latent: the encoder or decoder vectors of one
            instance.
        image_shape: Shape of an input: ``(c, h, w)``, ``(h, w)`` or ``(d,)``.
        indices: Latents to draw, in this order; None takes the ``top`` of largest norm, largest first.
        top: Number of latents to draw when ``indices`` is None.
        shared_scale: One color scale for all the latents, or one for each.
        title: Title of the figure.
        mask: Booleans of ``image_shape`` (or flat), true where a pixel is to be drawn. Pixels that never vary
            keep their initial noise in an encoder, and are best left out.

    Returns:
        The figure.

    Raises:
        ValueError: If ``vectors`` is not a non-empty matrix, or a shape does not fit.
        IndexError: If an index names no latent.
    """
    weights = to_numpy(vectors)
    if weights.ndim != 2 or weights.size == 0:
        raise ValueError(
            f"weights must have the shape (latent, input), but theirs is {weights.shape}; choose one instance"
        )
    chosen = _strongest(weights, top) if indices is None else np.asarray(indices, dtype=np.int64)
    if chosen.size == 0:
        raise ValueError("there are no latents to draw")
    images = as_images(_masked(weights[chosen], mask), image_shape)
    return _draw(images, chosen, shared_scale, title)


def _strongest(weights: Array, top: int) -> Array:
    return np.argsort(-np.linalg.norm(weights, axis=1), kind="stable")[:top]


def _masked(weights: Array, mask: Any | None) -> Array:
    if mask is None:
        return weights
    shown = to_numpy(mask).reshape(-1) > 0
    if shown.size != weights.shape[1]:
        raise ValueError(f"the mask has {shown.size} pixels, but a latent has {weights.shape[1]} weights")
    return np.where(shown, weights, np.float32(np.nan))


def _draw(images: Array, numbers: Array, shared: bool, title: str | None) -> Figure:
    """One pair of axes holds every image, because sixty-four pairs of them take a second to lay out."""
    aspect = float(np.clip(images.shape[2] / images.shape[3], 0.25, 4))
    cell_width, cell_height = 1 + _GAP, aspect + _LABEL_SPACE
    columns = len(images) if len(images) <= 4 else math.ceil(math.sqrt(len(images) * aspect))
    rows = math.ceil(len(images) / columns)
    inches = 0.85 if columns > 4 else 1.4
    size = (columns * cell_width * inches + 1.3, rows * cell_height * inches + 0.5)
    figure = Figure(figsize=(max(size[0], 3.0), max(size[1], 2.2)), layout="constrained")
    ax = figure.subplots()
    for place, (image, number) in enumerate(zip(to_rgb_signed(images, shared=shared), numbers, strict=True)):
        left, top = (place % columns) * cell_width, (place // columns) * cell_height
        ax.imshow(image, extent=(left, left + 1, top + aspect, top), interpolation="nearest")
        ax.text(left + 0.5, top - 0.03, str(number), fontsize=7, ha="center", va="bottom")
    ax.set(xlim=(-_GAP, columns * cell_width), ylim=(rows * cell_height - _LABEL_SPACE + _GAP, -_LABEL_SPACE))
    ax.set_aspect("equal")
    ax.set_axis_off()
    if title:
        ax.set_title(title, fontsize=11)
    if images.shape[1] == 1:
        _color_bar(figure, images, shared)
    return figure


def _color_bar(figure: Figure, images: Array, shared: bool) -> None:
    limit = float(np.nan_to_num(np.abs(images), posinf=0).max()) or 1.0
    scale = ScalarMappable(Normalize(-limit, limit), cmap=SIGNED_COLORMAP)
    bar = figure.colorbar(scale, ax=figure.axes[0], shrink=0.8, aspect=25, pad=0.02)
    if shared:
        bar.set_label("weight", fontsize=9)
    else:
        bar.set_label("weight / largest of latent", fontsize=9)
        bar.set_ticks([-limit, 0, limit], labels=["−1", "0", "1"])
    bar.ax.tick_params(labelsize=8)
