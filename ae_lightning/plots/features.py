"""Features as directions in a plane, several instances side by side: still figures, and the frames of a training.

What toy models of superposition learn, and the sparse autoencoders trained on their hidden activations.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.lines import Line2D
from torch import Tensor

from ae_lightning.plots import plane
from ae_lightning.plots.figure import Figure
from ae_lightning.plots.scatter import CLASS_COLORS
from ae_lightning.plots.tiles import Array, to_numpy

# Neighbors in this order are far apart, so that a handful of features is not three greens.
_COLORS = tuple(CLASS_COLORS[i] for i in (0, 6, 3, 5, 1, 7, 2, 4, 8, 9))
# These differ in lightness too, which every reader can see.
_LATENT, _MARKED = "#1B2A6B", "#EE1111"
_MOST_COLUMNS = 8
_LETTERS_PER_INCH = 13  # of the small text, roughly
_DPI = 100


def feature_arrows(
    directions: Tensor,
    behind: Tensor | None = None,
    titles: Sequence[str] | None = None,
    title: str = "",
    name: str = "feature",
) -> Figure:
    """Draw the directions of features as arrows from the origin, a panel for each instance.

    All panels have the same scale, with a thin circle of radius 1. A feature has the same color in all of them.

    Args:
        directions: Shape (instances, features, 2).
        behind: Directions in light gray below, such as the true ones: (instances or 1, m, 2).
        titles: One for each instance.
        title: Title of the figure.
        name: What an arrow is called in the legend, such as latent.

    Returns:
        The figure, of rows of up to 8 panels.

    Raises:
        ValueError: If a shape is another one, a value is not finite, or the number of titles is another one.
    """
    vectors = plane.checked_vectors(directions, "directions")
    limit = limit_of(vectors, *([] if behind is None else [behind]))
    count = vectors.shape[1]
    few = count <= len(_COLORS)
    figure, axes = _panels(len(vectors), limit, behind, titles, title, beside=0.0 if few else 0.9)
    scale = ScalarMappable(Normalize(0, max(count - 1, 1)), "viridis")
    colors = list(_COLORS[:count]) if few else list(scale.to_rgba(np.arange(count)))
    for ax, panel in zip(axes, vectors, strict=True):
        plane.draw_arrows(ax, np.zeros_like(panel), panel, 0.025, colors)
    handles = [Line2D([], [], color=c, lw=2, label=f"{name} {i}") for i, c in enumerate(colors)] if few else []
    _legend(figure, [*handles, *plane.reference_handles("" if behind is None else "true directions")])
    if not few:
        figure.colorbar(scale, ax=axes, label=name, shrink=0.8, aspect=25, pad=0.02)
    return figure


def hidden_states(
    hidden: Tensor,
    reconstructions: Tensor,
    directions: Tensor | None = None,
    titles: Sequence[str] | None = None,
    title: str = "",
) -> Figure:
    """Draw hidden states and their reconstructions as dots, a panel for each instance.

    Up to 300 of them per instance are joined by thin lines, which are the errors.

    Args:
        hidden: Shape (instances, n, 2).
        reconstructions: Of the hidden states, in their order: (instances, n, 2).
        directions: Directions in light gray below, such as the features': (instances or 1, m, 2).
        titles: One for each instance.
        title: Title of the figure.

    Returns:
        The figure, of rows of up to 8 panels of the same scale, with a thin circle of radius 1.

    Raises:
        ValueError: If a shape is another one, a value is not finite, or the number of titles is another one.
    """
    states, decoded = plane.checked_pair(hidden, reconstructions)
    limit = limit_of(states, decoded, *([] if directions is None else [directions]))
    figure, axes = _panels(len(states), limit, directions, titles, title)
    for ax, before, after in zip(axes, states, decoded, strict=True):
        plane.draw_dots(ax, before, after, len(before), 2.5)
    _legend(figure, [*plane.dot_handles(), *plane.reference_handles("" if directions is None else "features")])
    return figure


def limit_of(*vectors: Tensor | Array) -> float:
    """Half the width of a panel that holds the unit circle and all these vectors (..., 2), with a margin."""
    return 1.1 * max([1.0, *(float(np.abs(to_numpy(v)).max(initial=0)) for v in vectors)])


class TrainingFrames:
    """Draws the frames of an animation: a column for each instance, a row for each kind of vector.

    The rows of ``directions`` show arrows; below them, ``points`` names a row of hidden states and reconstructions.
    All frames have the same size and the same scale, for which ``limit_of`` all that will be shown is a choice.
    What lies beyond the limit is drawn at the edge of its panel.

    Args:
        instances: Number of columns.
        directions: Labels of the rows of arrows, such as ``("encoder", "decoder")``.
        points: Label of the row of dots; None for none.
        limit: Half the width of a panel, in units of the vectors.
        behind: Directions in light gray in all the rows, such as the true ones: (instances or 1, m, 2).
        titles: One for each instance, above its column.

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
    ) -> None:
        rows = [*directions, *([] if points is None else [points])]
        if instances < 1 or not rows or len(set(rows)) < len(rows):
            raise ValueError(f"frames need instances and rows of different labels, not {instances} and {rows}")
        if not (math.isfinite(limit) and limit > 0):
            raise ValueError(f"the limit must be a positive number, not {limit}")
        self._directions, self._has_points, self._limit = tuple(directions), points is not None, limit
        self._side = float(np.clip(12.6 / instances, 0.9, 2.2))
        names = _wrapped(titles, instances, self._side)
        labels = [textwrap.fill(row, int(self._side * _LETTERS_PER_INCH)) for row in rows]
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
        self._letters = int(width * _LETTERS_PER_INCH)
        self._draw_still(names, labels, left, behind)

    def draw(
        self,
        directions: Mapping[str, Tensor],
        points: tuple[Tensor, Tensor] | None = None,
        marked: Tensor | None = None,
        caption: str = "",
    ) -> Array:
        """Draw a frame.

        Args:
            directions: For each label, its arrows: (instances, latent, 2).
            points: Hidden states and their reconstructions, (instances, n, 2) each; needed where there is a row
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
        order = np.argsort(red, axis=1, kind="stable")  # the red ones last, on top
        colors = np.where(np.take_along_axis(red, order, axis=1), _MARKED, _LATENT).ravel()
        return self._draw_arrows(row, np.take_along_axis(vectors, order[..., None], axis=1), 0.02, list(colors))

    def _draw_arrows(self, row: int, vectors: Array, inches: float, colors: Any = plane.BEHIND) -> Any:
        tips = self._placed(vectors, row)
        origins = np.broadcast_to(self._centers[row][:, None], tips.shape)
        flat = (origins.reshape(-1, 2), (tips - origins).reshape(-1, 2))
        return plane.draw_arrows(self._ax, *flat, inches * math.sqrt(self._side), colors)

    def _placed(self, vectors: Array, row: int) -> Array:
        """Vectors (instances, n, 2) as places on the figure, in inches."""
        if len(vectors) != self._centers.shape[1]:
            raise ValueError(
                f"the frames have {self._centers.shape[1]} instances, but what is drawn has {len(vectors)}"
            )
        beyond = np.maximum(np.abs(vectors).max(axis=-1, keepdims=True) / self._limit, 1)
        return np.asarray(self._centers[row][:, None] + vectors / (self._limit * beyond) * self._side / 2)

    def _draw_still(self, names: Sequence[str], labels: Sequence[str], left: float, behind: Tensor | None) -> None:
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
                self._draw_arrows(row, vectors, 0.04)
        references = plane.reference_handles("" if behind is None else "true directions", circle=has_circle)
        handles = [*(plane.dot_handles() if self._has_points else []), *references]
        if handles:
            ax.legend(handles=handles, loc="lower left", ncols=4, fontsize=8, frameon=False, borderaxespad=0.2)


def _wrapped(titles: Sequence[str] | None, instances: int, inches: float) -> list[str]:
    if titles is not None and len(titles) != instances:
        raise ValueError(f"there are {instances} instances, but {len(titles)} titles")
    return [textwrap.fill(title, int(inches * _LETTERS_PER_INCH)) for title in titles or []]


def _panels(
    instances: int,
    limit: float,
    behind: Tensor | None,
    titles: Sequence[str] | None,
    title: str,
    beside: float = 0.0,
) -> tuple[Figure, list[Axes]]:
    """A figure with a panel for each instance, its circle and what lies behind drawn, and inches beside them."""
    rows = math.ceil(instances / _MOST_COLUMNS)
    columns = math.ceil(instances / rows)  # twelve are two rows of six
    side = float(np.clip(10 / columns, 1.6, 3.4))
    names = _wrapped(titles, instances, side)
    height = (side + 0.16 * plane.line_count(names)) * rows + 0.35 + (0.3 if title else 0)
    figure = Figure(figsize=(max(columns * side + beside, 4.8), height), layout="constrained")
    if title:
        figure.suptitle(title, fontsize=12)
    directions = None if behind is None else plane.for_each(instances, behind, "directions behind")
    axes = []
    for i in range(instances):
        ax = figure.add_subplot(rows, columns, i + 1)
        ax.set(xlim=(-limit, limit), ylim=(-limit, limit), xticks=[], yticks=[], aspect="equal")
        ax.spines[:].set_color(plane.EDGE)
        ax.add_collection(plane.circles(np.zeros((1, 2)), 1), autolim=False)
        if directions is not None:
            plane.draw_arrows(ax, np.zeros_like(directions[i]), directions[i], 0.05)
        if names:
            ax.set_title(names[i], fontsize=9)
        axes.append(ax)
    return figure, axes


def _legend(figure: Figure, handles: Sequence[Line2D]) -> None:
    columns = max(2, int(figure.get_size_inches()[0] / 1.2))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=8)
