"""Frames of units in the course of training, with a scale, the numbers of the moment, and the error so far."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from ae_lightning.plots.checks import finite_array
from ae_lightning.plots.evolution import frame_scale, weight_frames
from ae_lightning.plots.figure import Figure
from ae_lightning.plots.tiles import SIGNED_COLORMAP, Array

_DPI = 100
# In pixels: around the tiles, above them, right of them, and the curve below.
_MARGIN, _ABOVE, _BESIDE, _CURVE = 12, 66, 110, 150
_NARROWEST = 640
# Errors that span more than this are on a logarithmic scale.
_SPAN = 10
_BLUE, _VERMILION = "#0072B2", "#D55E00"


def unit_frames(
    moments: Sequence[tuple[int, Any]],
    image_shape: tuple[int, ...],
    headings: Sequence[str],
    notes: Sequence[str],
    errors: Any,
) -> list[Array]:
    """Draw the frames of an animation: units on tiles, their scale, a note, and a curve with a dot at the moment.

    Args:
        moments: For each frame its step and vectors (tiles, units, input), as ``evolution.weight_frames`` draws them.
        image_shape: Shape of an input.
        headings: What stands above each tile.
        notes: What stands above each frame, such as its step.
        errors: The error at each moment, (frames,).

    Returns:
        uint8 arrays of shape (height, width, 3), RGB, all of one size. Each pixel of a tile is as in ``weight_frames``.

    Raises:
        ValueError: If a shape does not fit, or an error is not finite.
    """
    tiles = weight_frames(moments, image_shape)
    values = finite_array("errors", errors, 1, "(frames,)")
    if not len(tiles) == len(values) == len(notes):
        raise ValueError(f"there are {len(tiles)} frames, but {len(values)} errors and {len(notes)} notes")
    height, inner = tiles[0].shape[:2]
    width = max(inner + 2 * _MARGIN + _BESIDE, _NARROWEST)
    total = _ABOVE + height + _CURVE
    figure = Figure(figsize=(width / _DPI, total / _DPI), dpi=_DPI)
    place = (_MARGIN / width, _CURVE / total, inner / width, height / total)
    shown = figure.add_axes(place).imshow(tiles[0], interpolation="nearest", aspect="auto")
    shown.axes.set_axis_off()
    for number, heading in enumerate(headings):
        x = (_MARGIN + inner * number / len(headings)) / width
        figure.text(x, (_CURVE + height + 6) / total, heading, fontsize=10, va="bottom")
    note = figure.text(_MARGIN / width, 1 - 8 / total, "", fontsize=13, va="top", weight="bold")
    if len(image_shape) < 3 or image_shape[0] == 1:  # in color there is no such scale
        _draw_scale(figure, frame_scale(moments, image_shape), (width, total), (inner, height))
    steps = np.array([step for step, _ in moments])
    dot = _draw_curve(figure.add_axes((0.07, 44 / total, 0.86, (_CURVE - 60) / total)), steps, values)
    canvas, frames = FigureCanvasAgg(figure), []
    for picture, text, step, value in zip(tiles, notes, steps, values, strict=True):
        shown.set_data(picture)
        note.set_text(text)
        dot.set_data([step], [value])
        canvas.draw()
        frames.append(np.asarray(canvas.buffer_rgba())[..., :3].copy())
    return frames


def _draw_scale(figure: Figure, limit: float, size: tuple[int, int], tiles: tuple[int, int]) -> None:
    """The bar of the color scale, right of the tiles."""
    (width, total), (inner, height) = size, tiles
    tall = min(height, 420)
    left, bottom = inner + 2 * _MARGIN + 8, _CURVE + (height - tall) / 2
    ax = figure.add_axes((left / width, bottom / total, 16 / width, tall / total))
    figure.colorbar(ScalarMappable(Normalize(-limit, limit), SIGNED_COLORMAP), cax=ax, extend="both", label="weight")
    ax.tick_params(labelsize=9)


def _draw_curve(ax: Axes, steps: Array, errors: Array) -> Any:
    ax.plot(steps, errors, color=_BLUE, linewidth=1.2)
    if errors.min() > 0 and errors.max() > _SPAN * errors.min():
        ax.set_yscale("log")
    ax.set_yticks([errors.min(), errors.max()], labels=[f"{errors.min():.2g}", f"{errors.max():.2g}"])
    ax.set_yticks([], minor=True)
    ax.set_xlabel("optimizer step", fontsize=9, labelpad=1)
    ax.set_title("squared error per pixel on test samples", fontsize=9, loc="left", pad=3)
    ax.tick_params(labelsize=8)
    ax.spines[["top", "right"]].set_visible(False)
    return ax.plot([], [], "o", color=_VERMILION, markersize=7, clip_on=False)[0]
