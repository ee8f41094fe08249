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
_PAIR_GAP = 0.3
_PAIRS_IN_A_ROW = 8


def weight_pairs(
    read: Any,
    written: Any,
    image_shape: tuple[int, ...],
    indices: Sequence[int],
    mask: Any | None = None,
    title: str | None = None,
) -> Figure:
    """Draw what latents read and, beside it, what they write, as signed images, each pair under its latent's number.

    Args:
        read: Encoder rows, (latent, input).
        written: Decoder rows, (latent, input).
        image_shape: Shape of an input: ``(c, h, w)`` or ``(h, w)``.
        indices: Latents to draw, in this order.
        mask: Booleans of ``image_shape`` (or flat), true where what latents read is to be
            drawn. Pixels that never vary keep their initial noise in an encoder, and are best left out.
        title: Title of the figure.

    Returns:
        The figure, each image on a scale of its own.

    Raises:
        ValueError: If a shape does not fit, or there are no latents to draw.
        IndexError: If an index names no latent.
    """
    sides = [to_numpy(read), to_numpy(written)]
    if sides[0].ndim != 2 or sides[0].shape != sides[1].shape:
        raise ValueError(f"rows must have one shape (latent, input), but theirs are {[side.shape for side in sides]}")
    chosen = np.asarray(indices, dtype=np.int64)
    if chosen.size == 0:
        raise ValueError("there are no latents to draw")
    rows = np.stack([masked(sides[0][chosen], mask), sides[1][chosen]], axis=1).reshape(2 * len(chosen), -1)
    images = as_images(rows, image_shape)
    rgb = to_rgb_signed(images, shared=False)
    cell_width, cell_height = cell_size(rgb, labeled=True)
    pairs = min(len(chosen), _PAIRS_IN_A_ROW)
    rows_of_pairs = math.ceil(len(chosen) / pairs)
    width, height = pairs * (2 * cell_width + _PAIR_GAP), rows_of_pairs * cell_height
    inches = min(10.0 / width, 1.0)
    figure = Figure(figsize=(max(width * inches + 1.1, 4.2), max(height * inches + 0.4, 2.2)), layout="constrained")
    ax = figure.subplots()
    for place, image in enumerate(rgb):
        pair, side = divmod(place, 2)
        left = pair % pairs * (2 * cell_width + _PAIR_GAP) + side * cell_width
        top = pair // pairs * cell_height
        ax.imshow(image, extent=(left, left + 1, top + cell_height - _LABEL_SPACE, top), interpolation="nearest")
        if side:
            ax.text(left - _GAP / 2, top - 0.03, f"#{chosen[pair]}", fontsize=7, ha="center", va="bottom")
    ax.set(xlim=(-_GAP, width - _PAIR_GAP), ylim=(height - _LABEL_SPACE + _GAP, -_LABEL_SPACE))
    ax.set_aspect("equal")
    ax.set_axis_off()
    if title:
        ax.set_title(title, fontsize=10)
    if images.shape[1] == 1:
        color_bar(figure, None, "weight / largest of image")
    return figure


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


def cell_size(rgb: Array, *, labeled: bool) -> tuple[float, float]:
    """Width and height of the place of each of these images (n, h, w, 3), in units of an image's width."""
    aspect = float(np.clip(rgb.shape[1] / rgb.shape[2], 0.25, 4))
    return 1 + _GAP, aspect + (_LABEL_SPACE if labeled else _GAP)


def draw_cells(ax: Axes, rgb: Array, columns: int, labels: Sequence[str] | None = None) -> tuple[Array, Array]:
    """Draw images (n, h, w, 3) row by row, each under its label; answers the x of the columns and the y of the rows.

    One pair of axes holds every image, because sixty-four pairs of them take a second to lay out.
    """
    width, height = cell_size(rgb, labeled=labels is not None)
    space = _GAP if labels is None else _LABEL_SPACE
    rows = math.ceil(len(rgb) / columns)
    for place, image in enumerate(rgb):
        left, top = (place % columns) * width, (place // columns) * height
        ax.imshow(image, extent=(left, left + 1, top + height - space, top), interpolation="nearest")
        if labels is not None:
            ax.text(left + 0.5, top - 0.03, labels[place], fontsize=7, ha="center", va="bottom")
    ax.set(xlim=(-_GAP, columns * width), ylim=(rows * height - space + _GAP, -space))
    ax.set_aspect("equal")
    return 0.5 + width * np.arange(columns), (height - space) / 2 + height * np.arange(rows)


def color_bar(figure: Figure, limit: float | None, label: str, *, clipped: bool = False, letters: float = 9) -> None:
    """A bar of the signed scale beside all the axes; without a limit it is a relative one, from -1 to 1.

    Args:
        figure: Where it stands.
        limit: Where the scale ends; None for a relative one.
        label: What it says.
        clipped: Whether there are values beyond it.
        letters: Points of the letters.
    """
    scale = ScalarMappable(Normalize(-(limit or 1), limit or 1), cmap=SIGNED_COLORMAP)
    shrink = min(0.8, 6 / figure.get_size_inches()[1])  # beside a tall figure it would be a wide one
    extend = "both" if clipped else "neither"
    bar = figure.colorbar(scale, ax=figure.axes, shrink=shrink, aspect=25, pad=0.02, extend=extend, extendfrac=0.03)
    bar.set_label(label, fontsize=letters)
    if limit is None:
        bar.set_ticks([-1, 0, 1], labels=["−1", "0", "1"])
    bar.ax.tick_params(labelsize=letters - 1)
