"""The space of codes as figures: lines and sums of codes decoded, random decodes, and a plane of them.

Samples are images (c, h, w) with one channel or three, images (h, w), or vectors (d,), which are drawn as strips or
squares; their shape is read off the arrays. Arrays and tensors on any device are taken.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from ae_lightning.plots.figure import Figure
from ae_lightning.plots.tiles import Array, as_images, tile, to_numpy, to_rgb_gray, viewable_shape

Range = tuple[float, float]

_GAP = 0.06
_END_GAP = 0.3
_TILE_GAP = 0.08
_SIGN_GAP = 0.45
# More columns than these have no room for a name each.
_MOST_NAMES = 20
_LEGIBLE_SIDE = 28


def interpolation_strips(
    images: Any, value_range: Range | None = None, ends: Any = None, labels: Sequence[str] | None = None
) -> Figure:
    """Draw lines between codes, decoded: a row per line, from t = 0 at its start to t = 1 at its end.

    Args:
        images: Decoded samples of shape (rows, steps, *sample).
        value_range: The values shown as black and as white; None takes those of all that is shown.
        ends: The samples between whose codes the lines run, (rows, 2, *sample). They are drawn on the left and on
            the right, set apart; None leaves them out.
        labels: A text for each row.

    Returns:
        The figure.

    Raises:
        ValueError: If a shape does not fit, or the number of labels is not that of the rows.
    """
    strips = to_numpy(images)
    if strips.ndim < 3 or strips.size == 0:
        raise ValueError(f"strips must have the shape (rows, steps, *sample), but theirs is {strips.shape}")
    rows, steps, *sample = strips.shape
    places = [step * (1 + _GAP) for step in range(steps)]
    names = [f"{t:.2g}" if steps <= _MOST_NAMES or t in (0, 1) else "" for t in np.linspace(0, 1, steps)]
    names[0] = "t = 0"
    if ends is not None:
        originals = to_numpy(ends)
        if originals.shape != (rows, 2, *sample):
            raise ValueError(f"the ends must have the shape {(rows, 2, *sample)}, but theirs is {originals.shape}")
        strips = np.concatenate([originals[:, :1], strips, originals[:, 1:]], axis=1)
        places = [-1 - _END_GAP, *places, places[-1] + 1 + _END_GAP]
        names = ["input", *names, "input"]
    if labels is not None and len(labels) != rows:
        raise ValueError(f"there are {rows} rows, but {len(labels)} labels")
    pictures = _rgb(strips.reshape(-1, *sample), value_range)
    return _draw_rows(pictures.reshape(rows, -1, *pictures.shape[1:]), places, names, labels)


def arithmetic_strip(
    a: Any,
    b: Any,
    c: Any,
    result: Any,
    value_range: Range | None = None,
    names: tuple[str, str, str] = ("a", "b", "c"),
) -> Figure:
    """Draw a sum of codes as an equation of images: a + b − c = result.

    Args:
        a: A sample.
        b: The sample whose code is added, of the same shape.
        c: The sample whose code is subtracted.
        result: What is decoded from the sum.
        value_range: The values shown as black and as white; None takes those of the four images.
        names: What stands above the three samples.

    Returns:
        The figure.

    Raises:
        ValueError: If the four shapes differ.
    """
    samples = [to_numpy(x) for x in (a, b, c, result)]
    if len({x.shape for x in samples}) > 1:
        raise ValueError(f"the four images must have one shape, but theirs are {[x.shape for x in samples]}")
    pictures = _rgb(np.stack(samples), value_range)
    places = [i * (1 + _SIGN_GAP) for i in range(4)]
    figure = _draw_rows(pictures[None], places, [*names, "decoded"], None, inches=1.5)
    middle = _aspect(pictures) / 2
    for place, sign in zip(places[1:], "+−=", strict=True):
        figure.axes[0].text(place - _SIGN_GAP / 2, middle, sign, fontsize=20, ha="center", va="center")
    return figure


def image_grid(
    images: Any, columns: int | None = None, value_range: Range | None = None, title: str | None = None
) -> Figure:
    """Draw many samples side by side, such as random codes decoded.

    Args:
        images: Samples (n, *sample).
        columns: Images per row; None makes the picture near-square.
        value_range: The values shown as black and as white; None takes those of the images.
        title: Title of the figure.

    Returns:
        The figure.

    Raises:
        ValueError: If there are no images, or they cannot be shown.
    """
    picture = _tiled(_rgb(to_numpy(images), value_range), columns)
    height, width = picture.shape[:2]
    figure = _figure_for(width, height, margin=0.2, title=title)
    ax = figure.subplots()
    ax.imshow(picture, interpolation="nearest")
    ax.set_axis_off()
    _set_title(ax, title)
    return figure


def plane_grid(
    images: Any,
    axes: Sequence[Any],
    axis_labels: Sequence[str],
    value_range: Range | None = None,
    title: str | None = None,
) -> Figure:
    """Draw a grid of decoded codes over the plane from which they were taken, each image about its own code.

    Args:
        images: Samples (rows, columns, *sample), the row of the largest second coordinate first.
        axes: Coordinates of the columns (columns,), and of the rows (rows,) where there are several.
        axis_labels: What these coordinates are.
        value_range: The values shown as black and as white; None takes those of the images.
        title: Title of the figure.

    Returns:
        The figure. Its ticks are in the units of the code.

    Raises:
        ValueError: If the coordinates do not fit the images.
    """
    samples = to_numpy(images)
    rows, columns = samples.shape[:2] if samples.ndim > 2 else (0, 0)
    if [len(axis) for axis in axes] != [columns, rows][: 1 if rows == 1 and len(axes) == 1 else 2]:
        raise ValueError(
            "images of shape (rows, columns, *sample) need the coordinates of their columns and rows, but theirs is "
            f"{samples.shape} and the numbers of coordinates are {[len(axis) for axis in axes]}"
        )
    picture = _tiled(_rgb(samples.reshape(-1, *samples.shape[2:]), value_range), columns)
    height, width = picture.shape[:2]
    figure = _figure_for(width, height, margin=0.6, title=title)
    ax = figure.subplots()
    left, right = _span(axes[0])
    top, bottom = _span(axes[1]) if len(axes) > 1 else (0.0, 1.0)
    ax.imshow(picture, interpolation="nearest", extent=(left, right, bottom, top))
    ax.set_aspect(abs((right - left) / (top - bottom)) * height / width)
    ax.set_xlabel(axis_labels[0])
    if len(axes) > 1:
        ax.set_ylabel(axis_labels[1])
    else:
        ax.set_yticks([])
    _set_title(ax, title)
    return figure


def _rgb(samples: Array, value_range: Range | None) -> Array:
    """Samples (n, *sample) as uint8 pictures (n, h, w, 3); strips of few entries become bars of some height."""
    if samples.size == 0:
        raise ValueError("there are no images to draw")
    pictures = to_rgb_gray(as_images(samples, viewable_shape(samples.shape[1:])), value_range)
    return pictures.repeat(max(1, pictures.shape[2] // (4 * pictures.shape[1])), axis=1)


def _tiled(pictures: Array, columns: int | None) -> Array:
    """Pictures side by side, small ones enlarged, so that what lies between them is thin but seen."""
    scale = math.ceil(_LEGIBLE_SIDE / max(pictures.shape[1:3]))
    return tile(pictures, columns, scale=scale, pad=max(1, round(_TILE_GAP * scale * min(pictures.shape[1:3]))))


def _aspect(pictures: Array) -> float:
    """Height of an image by its width, within what can be looked at."""
    return float(np.clip(pictures.shape[-3] / pictures.shape[-2], 0.25, 4))


def _draw_rows(
    pictures: Array, places: Sequence[float], names: Sequence[str], labels: Sequence[str] | None, inches: float = 0.85
) -> Figure:
    """Rows of images (rows, columns, h, w, 3), the columns at ``places`` on one pair of axes that holds them all."""
    rows, aspect = len(pictures), _aspect(pictures)
    inches = min(inches, 14 / (places[-1] + 1 - places[0]))
    size = ((places[-1] + 1 - places[0]) * inches + 0.3, rows * (aspect + _GAP) * inches + 0.35)
    if labels is not None:
        size = (size[0] + 0.2 + 0.09 * max(map(len, labels)), size[1])
    figure = Figure(figsize=size, layout="constrained")
    ax = figure.subplots()
    for row, images in enumerate(pictures):
        top = row * (aspect + _GAP)
        for image, left in zip(images, places, strict=True):
            ax.imshow(image, extent=(left, left + 1, top + aspect, top), interpolation="nearest")
    ax.set(xlim=(places[0], places[-1] + 1), ylim=(rows * (aspect + _GAP) - _GAP, 0))
    ax.set_aspect("equal")
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0, top=False, labeltop=True, labelbottom=False, labelsize=9)
    ax.set_xticks([place + 0.5 for place in places], labels=names)
    middles = [row * (aspect + _GAP) + aspect / 2 for row in range(rows)]
    ax.set_yticks(middles if labels is not None else [], labels=labels)
    return figure


def _figure_for(width: int, height: int, margin: float, title: str | None) -> Figure:
    """A figure about a picture of so many pixels: large enough for each of them, within reason."""
    longer = float(np.clip(max(width, height) / 90, 4, 9))
    inches = longer / max(width, height)
    size = (max(width * inches, 1.5) + margin, max(height * inches, 0.5) + margin + (0.3 if title else 0))
    return Figure(figsize=size, layout="constrained")


def _span(axis: Any) -> Range:
    """Where the cells about equally spaced coordinates begin and end."""
    values = np.asarray(axis, dtype=np.float64)
    half = (values[-1] - values[0]) / (2 * (len(values) - 1)) if len(values) > 1 else 0.5
    return float(values[0] - (half or 0.5)), float(values[-1] + (half or 0.5))


def _set_title(ax: Axes, title: str | None) -> None:
    if title:
        ax.set_title(title, fontsize=11)
