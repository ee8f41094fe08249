"""The frames of a training in a plane or in space: arrows, and samples with their reconstructions."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from torch import Tensor

from ae_lightning.plots import plane
from ae_lightning.plots.figure import Figure
from ae_lightning.plots.tiles import Array, to_numpy

# These differ in lightness too, which every reader can see.
_LATENT, _MARKED = "#1B2A6B", "#EE1111"
_DPI = 100


class TrainingFrames:
    """Draws the frames of an animation: a column for each instance, a row for each kind of vector.

    The rows of ``directions`` show arrows; below them, ``points`` names a row of hidden states and reconstructions.
    All frames have the same size and the same scale, for which ``plane.limit_of`` all that will be shown is a choice.
    What lies beyond the limit is drawn at the edge of its panel. Vectors of three numbers have the third towards the
    viewer; arrows that point away are pale.

    Args:
        instances: Number of columns.
        directions: Labels of the rows of arrows, such as ``("encoder", "decoder")``.
        points: Label of the row of dots; None for none.
        limit: Half the width of a panel, in units of the vectors.
        behind: Directions in light gray in all the rows, such as the true ones: (instances or 1, m, 2 or 3).
        titles: One for each instance, above its column.
        deep: Whether vectors have three numbers, of which the legend tells.

    Raises:
        ValueError: If there are no rows or instances, or what is given does not fit.
    """

    def __init__(
        self,
        instances: int,
        directions: Sequence[str],
        points: str | None = None,
        *,
        limit: float = 1.2,
        behind: Tensor | None = None,
        titles: Sequence[str] | None = None,
        deep: bool = False,
    ) -> None:
        rows = [*directions, *([] if points is None else [points])]
        if instances < 1 or not rows or len(set(rows)) < len(rows):
            raise ValueError(f"frames need instances and rows of different labels, not {instances} and {rows}")
        if not (math.isfinite(limit) and limit > 0):
            raise ValueError(f"the limit must be a positive number, not {limit}")
        self._directions, self._has_points, self._limit = tuple(directions), points is not None, limit
        self._side = float(np.clip(12.6 / instances, 0.9, 2.2))
        names = plane.wrapped(titles, instances, self._side)
        labels = [textwrap.fill(row, int(self._side * plane.LETTERS_PER_INCH)) for row in rows]
        left, top = 0.1 + 0.17 * plane.line_count(labels), 0.38 + 0.15 * plane.line_count(names)
        pitch = 1.05 * self._side
        # Everything is in inches on a single pair of axes: a pair for each panel takes seconds to draw.
        width, height = max(left + pitch * instances + 0.05, 4.8), top + pitch * len(rows) + 0.32
        self._centers = np.empty((len(rows), instances, 2))
        self._centers[..., 0] = left + self._side / 2 + pitch * np.arange(instances)
        self._centers[..., 1] = (height - top - self._side / 2 - pitch * np.arange(len(rows)))[:, None]
        figure = Figure(figsize=(width, height), dpi=_DPI)
        self._canvas, self._ax = FigureCanvasAgg(figure), figure.add_axes((0, 0, 1, 1))
        self._ax.set(xlim=(0, width), ylim=(0, height))
        self._ax.set_axis_off()
        self._caption = self._ax.text(0.1, height - 0.1, "", fontsize=9, va="top")
        self._letters = int(width * plane.LETTERS_PER_INCH)
        self._draw_still(names, labels, left, behind, deep)

    def draw(
        self,
        directions: Mapping[str, Tensor],
        points: tuple[Tensor, Tensor] | None = None,
        marked: Tensor | None = None,
        caption: str = "",
    ) -> Array:
        """Draw a frame.

        Args:
            directions: For each label, its arrows: (instances, latent, 2 or 3).
            points: Hidden states and their reconstructions, (instances, n, 2 or 3) each; needed where there is a row
                for them.
            marked: Booleans (instances, latent), true where the arrows of a latent are to be red in all rows, such
                as those that were just resampled.
            caption: Stands above the panels.

        Returns:
            uint8 array of shape (height, width, 3), RGB.

        Raises:
            ValueError: If rows are missing or unknown, a shape is another one, or a value is not finite.
        """
        if set(directions) != set(self._directions) or (points is not None) != self._has_points:
            dots = "and points" if self._has_points else "and no points"
            given = "points" if points is not None else "none"
            raise ValueError(
                f"the frames have rows {list(self._directions)} {dots}, not {list(directions)} and {given}"
            )
        red = None if marked is None else to_numpy(marked) > 0
        artists: list[Any] = []
        try:
            for row, label in enumerate(self._directions):
                artists.append(self._draw_row(row, plane.checked_vectors(directions[label], label), red))
            if points is not None:
                before, after = (self._placed(x, -1) for x in plane.checked_pair(*points))
                flat = (before.reshape(-1, 2), after.reshape(-1, 2))
                artists += plane.draw_dots(self._ax, *flat, before.shape[1], 1.8 * math.sqrt(self._side))
            self._caption.set_text(textwrap.shorten(caption, self._letters, placeholder=" …"))
            self._canvas.draw()
        finally:  # the next frame has arrows of its own, even where this one was refused halfway
            for artist in artists:
                artist.remove()
        return np.asarray(self._canvas.buffer_rgba())[..., :3].copy()

    def _draw_row(self, row: int, vectors: Array, red: Array | None) -> Any:
        red = np.zeros(vectors.shape[:2], dtype=bool) if red is None else red
        if red.shape != vectors.shape[:2]:
            raise ValueError(f"marks must have the shape of the arrows, {vectors.shape[:2]}, but theirs is {red.shape}")
        near = plane.towards(vectors)
        order = np.lexsort((near, red), axis=1)[..., None]  # the nearest, and the red ones, last and on top
        colors = plane.paler(np.where(red[..., None], to_rgb(_MARKED), to_rgb(_LATENT)), near)
        ordered = np.take_along_axis(colors, order, axis=1).reshape(-1, 3)
        return self._draw_arrows(row, np.take_along_axis(vectors, order, axis=1), 0.02, list(ordered))

    def _draw_arrows(self, row: int, vectors: Array, inches: float, colors: Any) -> Any:
        tips = self._placed(vectors, row)
        origins = np.broadcast_to(self._centers[row][:, None], tips.shape)
        flat = (origins.reshape(-1, 2), (tips - origins).reshape(-1, 2))
        return plane.draw_arrows(self._ax, *flat, inches * math.sqrt(self._side), colors)

    def _placed(self, vectors: Array, row: int) -> Array:
        """Vectors (instances, n, 2 or 3) as places on the figure, in inches."""
        if len(vectors) != self._centers.shape[1]:
            raise ValueError(
                f"the frames have {self._centers.shape[1]} instances, but what is drawn has {len(vectors)}"
            )
        flat = vectors[..., :2]
        beyond = np.maximum(np.abs(flat).max(axis=-1, keepdims=True) / self._limit, 1)
        return np.asarray(self._centers[row][:, None] + flat / (self._limit * beyond) * self._side / 2)

    def _draw_still(
        self, names: Sequence[str], labels: Sequence[str], left: float, behind: Tensor | None, deep: bool
    ) -> None:
        """Draw what all frames share."""
        ax, half = self._ax, self._side / 2
        centers = self._centers.reshape(-1, 2)
        squares = centers[:, None] + half * np.array([(-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1)])
        ax.add_collection(LineCollection(list(squares), colors=plane.EDGE, linewidths=0.6, zorder=2))
        has_circle = self._limit >= 1
        if has_circle:  # a larger one would run through the neighbors
            ax.add_collection(plane.circles(centers, half / self._limit))
        for (x, y), name in zip(self._centers[0], names, strict=False):
            ax.text(x, y + half + 0.04, name, fontsize=8, ha="center", va="bottom")
        for y, label in zip(self._centers[:, 0, 1], labels, strict=True):
            ax.text(left - 0.06, y, label, fontsize=9, rotation=90, ha="right", va="center", multialignment="center")
        if behind is not None:
            vectors = plane.for_each(self._centers.shape[1], behind, "directions behind")
            for row in range(len(self._centers)):
                self._draw_arrows(row, vectors, 0.04, plane.gray(vectors.reshape(-1, vectors.shape[-1])))
        references = plane.reference_handles("" if behind is None else "true directions", circle=has_circle, deep=deep)
        handles = [*(plane.dot_handles() if self._has_points else []), *references]
        if handles:
            ax.legend(handles=handles, loc="lower left", ncols=4, fontsize=8, frameon=False, borderaxespad=0.2)
