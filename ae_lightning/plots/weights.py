"""The weights of a shallow model as images, one per latent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from ae_lightning.plots.figure import Figure
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
    images = as_images(masked(weights[chosen], mask), image_shape)
    return _draw(images, chosen, shared_scale, title)


def _strongest(weights: Array, top: int) -> Array:
    return np.argsort(-np.linalg.norm(weights, axis=1), kind="stable")[:top]


def masked(weights: Array, mask: Any | None) -> Array:
    """Weights (..., input) with NaN, which has no color, where the mask is false; None leaves them all.

    Raises:
        ValueError: If the mask has not as many entries as a latent has weights.
    """
    if mask is None:
        return weights
    shown = to_numpy(mask).reshape(-1) > 0
    if shown.size != weights.shape[-1]:
        raise ValueError(f"the mask has {shown.size} pixels, but a latent has {weights.shape[-1]} weights")
    return np.where(shown, weights, np.float32(np.nan))


def cell_size(rgb: Array, *, labelled: bool) -> tuple[float, float]:
    """Width and height of the place of each of these images (n, h, w, 3), in units of an image's width."""
    aspect = float(np.clip(rgb.shape[1] / rgb.shape[2], 0.25, 4))
    return 1 + _GAP, aspect + (_LABEL_SPACE if labelled else _GAP)


def draw_cells(
    ax: Axes, rgb: Array, columns: int, labels: Sequence[str] | None = None, fontsize: float = 7
) -> tuple[Array, Array]:
    """Draw images (n, h, w, 3) row by row, each under its label; answers the x of the columns and the y of the rows.

    One pair of axes holds every image, because sixty-four pairs of them take a second to lay out.
    """
    width, height = cell_size(rgb, labelled=labels is not None)
    space = _GAP if labels is None else _LABEL_SPACE
    rows = math.ceil(len(rgb) / columns)
    for place, image in enumerate(rgb):
        left, top = (place % columns) * width, (place // columns) * height
        ax.imshow(image, extent=(left, left + 1, top + height - space, top), interpolation="nearest")
        if labels is not None:
            ax.text(left + 0.5, top - 0.03, labels[place], fontsize=fontsize, ha="center", va="bottom")
    ax.set(xlim=(-_GAP, columns * width), ylim=(rows * height - space + _GAP, -space))
    ax.set_aspect("equal")
    return 0.5 + width * np.arange(columns), (height - space) / 2 + height * np.arange(rows)


def color_bar(figure: Figure, limit: float | None, label: str, *, clipped: bool = False) -> None:
    """A bar of the signed scale beside all the axes; without a limit it is a relative one, from -1 to 1."""
    scale = ScalarMappable(Normalize(-(limit or 1), limit or 1), cmap=SIGNED_COLORMAP)
    shrink = min(0.8, 6 / figure.get_size_inches()[1])  # beside a tall figure it would be a wide one
    extend = "both" if clipped else "neither"
    bar = figure.colorbar(scale, ax=figure.axes, shrink=shrink, aspect=25, pad=0.02, extend=extend, extendfrac=0.03)
    bar.set_label(label, fontsize=9)
    if limit is None:
        bar.set_ticks([-1, 0, 1], labels=["−1", "0", "1"])
    bar.ax.tick_params(labelsize=8)


def _draw(images: Array, numbers: Array, shared: bool, title: str | None) -> Figure:
    rgb = to_rgb_signed(images, shared=shared)
    cell_width, cell_height = cell_size(rgb, labelled=True)
    aspect = round(cell_height - _LABEL_SPACE, 9)  # unrounded, a grid might have a column too many
    columns = len(rgb) if len(rgb) <= 4 else math.ceil(math.sqrt(len(rgb) * aspect))
    rows = math.ceil(len(rgb) / columns)
    inches = 0.85 if columns > 4 else 1.4
    size = (columns * cell_width * inches + 1.3, rows * cell_height * inches + 0.5)
    figure = Figure(figsize=(max(size[0], 3.0), max(size[1], 2.2)), layout="constrained")
    ax = figure.subplots()
    draw_cells(ax, rgb, columns, [str(number) for number in numbers])
    ax.set_axis_off()
    if title:
        ax.set_title(title, fontsize=11)
    if images.shape[1] == 1:
        limit = float(np.nan_to_num(np.abs(images), posinf=0).max())
        color_bar(figure, limit if shared else None, "weight" if shared else "weight / largest of latent")
    return figure
