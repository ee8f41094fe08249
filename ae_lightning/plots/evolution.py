"""The weights of units in the course of training: still figures, and the frames of an animation."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from ae_lightning.plots.checks import finite_array
from ae_lightning.plots.figure import Figure
from ae_lightning.plots.tiles import Array, as_images, tile, to_numpy, to_rgb_signed, viewable_shape
from ae_lightning.plots.weights import cell_size, color_bar, draw_cells, masked

# Inches for images side by side, where they are not smaller or larger than these.
_INCHES, _SMALLEST, _LARGEST = 13, 0.5, 0.85
# Points of the letters, and those of a figure so wide in inches that a page shrinks it to three fifths.
_LETTERS, _LARGE_LETTERS, _WIDE_FIGURE = 9, 13, 9
# Part of the weights within the color scale.
_WITHIN_SCALE = 0.995
# Pixels of the longer side of a frame, at most, where each of an image's has at least one.
_FRAME_SIDE = 900
# Of one of several tiles beside each other, and how much wider than high it is.
_TILE_SIDE, _WIDE = 690, 1.75
_FRAME_PAD = 3
_FRAME_GAP = 24


def weight_evolution(
    vectors: Any,
    image_shape: tuple[int, ...],
    steps: Any,
    units: Any,
    *,
    mask: Any | None = None,
    shared_scale: bool = True,
    title: str | None = None,
) -> Figure:
    """Draw the weights of units at several moments as signed images: a row per unit, a column per moment.

    Args:
        vectors: Weights of what each cell shows, (moments, units, input).
        image_shape: Shape of an input: ``(c, h, w)``, ``(h, w)`` or ``(d,)``; others as ``tiles.viewable_shape`` says.
        steps: Optimizer step of each moment, (moments,).
        units: Number of the unit of each row, (units,).
        mask: Booleans, (input,) or ``image_shape``, true where a pixel is to be drawn; None draws them all.
        shared_scale: One color scale for the whole figure, or one for each row. A scale holds all but 0.5 % of the
            weights at the moment when they are largest; what lies beyond has its strongest color.
        title: Title of the figure.

    Returns:
        The figure, all its images on one pair of axes. Positive weights are red, negative ones blue, zero is white;
        three channels are drawn as color about gray.

    Raises:
        ValueError: If a shape does not fit, or there is nothing to draw.
    """
    weights, at = _checked(vectors, steps)
    moments, rows = weights.shape[:2]
    numbers = to_numpy(units).astype(np.int64)
    if numbers.shape != (rows,):
        raise ValueError(f"units must have the shape ({rows},), but theirs is {numbers.shape}")
    images = _images(weights, image_shape, mask)
    limits = [[_limit(images)]] if shared_scale else [[_limit(images[:, [row]])] for row in range(rows)]
    images = images.swapaxes(0, 1)
    rgb = _rgb(images, limits).reshape(rows * moments, *images.shape[3:], 3)
    width, height = cell_size(rgb, labeled=False)
    inches = float(np.clip(_INCHES / moments, _SMALLEST, _LARGEST))
    size = (max(moments * width * inches + 2.6, 3.6), max(rows * height * inches + (1.0 if title else 0.7), 2.4))
    letters = _LARGE_LETTERS if size[0] > _WIDE_FIGURE else _LETTERS
    figure = Figure(figsize=size, layout="constrained")
    ax = figure.subplots()
    x, y = draw_cells(ax, rgb, moments)
    ax.set_xticks(x, labels=[f"{step:g}" for step in at])
    ax.set_yticks(y, labels=[str(number) for number in numbers])
    ax.tick_params(length=0, labeltop=True, labelbottom=False, labelsize=letters)
    ax.spines[:].set_visible(False)
    ax.set_xlabel("optimizer step", fontsize=letters)
    ax.xaxis.set_label_position("top")
    ax.set_ylabel("unit", fontsize=letters)
    _finish(figure, images, limits, "row", title, letters)
    return figure


def weight_frames(
    vectors_at: Iterable[tuple[int, Any]], image_shape: tuple[int, ...], mask: Any | None = None
) -> list[Array]:
    """Draw the frames of an animation: the weights of some units at each moment, on a near-square tile, or on several.

    One color scale holds for all units and all frames: weights that grow become stronger in color, and the strong
    units stand out. With a scale per frame the colors would flicker, and initial noise look as strong as what was
    learned; with one per unit they would jump where units change places, as the top ones do. The scale is as for
    ``weight_evolution``.

    Args:
        vectors_at: For each frame ``(step, vectors)``, the vectors of shape (units, input) in the order in which they
            are to be drawn, or (tiles, units, input) for tiles side by side. The step names the frame in errors;
            captions are the caller's.
        image_shape: Shape of an input, as for ``weight_evolution``.
        mask: Booleans, (input,) or ``image_shape``, true where a pixel is to be drawn; None draws them all.

    Returns:
        uint8 arrays of shape (height, width, 3), RGB, all of one size, as ``animation.animation_html`` takes them.

    Raises:
        ValueError: If a shape does not fit, differs between frames, or there is nothing to draw.
    """
    moments = _same_shape(vectors_at)
    tiles, n = (1, *moments[0].shape)[-3:-1]
    images = _frame_images(moments, image_shape, mask)
    limit = _limit(images)
    height, width = images.shape[-2:]
    # Tiles side by side are wide, so that together they fill a page.
    columns = _columns(n, height, width) if tiles == 1 else min(n, math.ceil(math.sqrt(_WIDE * n * height / width)))
    rows, side = math.ceil(n / columns), _FRAME_SIDE if tiles == 1 else _TILE_SIDE
    places = ((rows, height), (columns, width))
    scale = min(int((side - _FRAME_PAD) / count - _FRAME_PAD) // size for count, size in places)
    how = {"columns": columns, "pad": _FRAME_PAD, "scale": max(scale, 1)}
    return [
        _side_by_side([tile(to_rgb_signed(part, limit), **how) for part in moment.reshape(tiles, n, *moment.shape[1:])])
        for moment in images
    ]


def frame_scale(vectors_at: Iterable[tuple[int, Any]], image_shape: tuple[int, ...], mask: Any | None = None) -> float:
    """The magnitude that has full color in the frames that ``weight_frames`` draws of the same vectors."""
    return _limit(_frame_images(_same_shape(vectors_at), image_shape, mask))


def _same_shape(vectors_at: Iterable[tuple[int, Any]]) -> list[Array]:
    """Vectors of moments, (units, input) or (tiles, units, input)."""
    moments = [(step, to_numpy(vectors)) for step, vectors in vectors_at]
    if not moments:
        raise ValueError("there are no moments to draw")
    shape = moments[0][1].shape
    for step, vectors in moments:
        if vectors.ndim not in (2, 3) or vectors.size == 0 or vectors.shape != shape:
            raise ValueError(
                f"vectors must have one shape (units, input) or (tiles, units, input), but that of step {step} is "
                f"{vectors.shape}, and the first one {shape}"
            )
    return [vectors for _, vectors in moments]


def _frame_images(moments: list[Array], image_shape: tuple[int, ...], mask: Any | None) -> Array:
    """Vectors of moments as images, (frames, tiles · units, c, h, w)."""
    return _images(np.stack([vectors.reshape(-1, vectors.shape[-1]) for vectors in moments]), image_shape, mask)


def _side_by_side(tiles: list[Array]) -> Array:
    """Pictures of one height beside each other, with a white gap between them."""
    gap = np.full((len(tiles[0]), _FRAME_GAP, 3), 255, dtype=np.uint8)
    return np.concatenate([part for picture in tiles for part in (gap, picture)][1:], axis=1)


def _checked(vectors: Any, steps: Any) -> tuple[Array, Array]:
    weights, at = to_numpy(vectors), finite_array("steps", steps, 1, "(moments,)")
    if weights.ndim != 3 or weights.size == 0:
        raise ValueError(f"vectors must have the shape (moments, units, input), but theirs is {weights.shape}")
    if len(at) != len(weights):
        raise ValueError(f"there are vectors of {len(weights)} moments, but {len(at)} steps")
    return weights, at


def _images(weights: Array, image_shape: tuple[int, ...], mask: Any | None) -> Array:
    """Vectors (a, b, input) as images (a, b, c, h, w)."""
    images = as_images(masked(weights, mask).reshape(-1, weights.shape[-1]), viewable_shape(image_shape))
    return images.reshape(*weights.shape[:2], *images.shape[1:])


def _limit(images: Array) -> float:
    """The magnitude in full color, for images of several moments, (moments, n, c, h, w).

    It is that which hardly any weights exceed at the moment when they are largest: those few that grow far beyond the
    others, at pixels that are seldom lit, would leave all else pale.
    """
    magnitudes = [np.abs(moment[np.isfinite(moment)]) for moment in images]
    limits = [np.quantile(values, _WITHIN_SCALE, method="higher") for values in magnitudes if values.size]
    return float(max(limits, default=0.0)) or max(float(values.max(initial=0)) for values in magnitudes)


def _rgb(images: Array, limits: Any) -> Array:
    """Images (a, b, c, h, w) as RGB, (a, b, h, w, 3), for limits (a or 1, b or 1)."""
    scale = np.asarray(limits)[..., None, None, None]
    rgb = to_rgb_signed((images / np.where(scale > 0, scale, 1)).reshape(-1, *images.shape[2:]), 1.0)
    return rgb.reshape(*images.shape[:2], *rgb.shape[1:])


def _finish(figure: Figure, images: Array, limits: Any, each: str, title: str | None, letters: float) -> None:
    """The title, and the bar of a single scale for all images or of one for each row or image."""
    if title:
        figure.suptitle(title, fontsize=letters)
    if images.shape[2] > 1:
        return
    scale = np.asarray(limits)
    clipped = bool((np.where(np.isfinite(images), np.abs(images), 0) > scale[..., None, None, None]).any())
    if scale.size == 1:
        color_bar(figure, float(scale.item()), "weight", clipped=clipped, letters=letters)
    else:
        color_bar(figure, None, f"weight / scale of {each}", clipped=clipped, letters=letters)


def _columns(n: int, height: int, width: int) -> int:
    """Columns of a near-square grid of so many images."""
    return min(n, math.ceil(math.sqrt(n * height / width)))
