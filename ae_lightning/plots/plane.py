"""Building blocks for vectors: arrows, dots and the circle of radius 1, on axes that others lay out.

Vectors are of two numbers, to the right and up, or of three, with the third towards the viewer.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D
from matplotlib.quiver import Quiver
from torch import Tensor

from ae_lightning.plots.tiles import Array, to_numpy

BEHIND, EDGE = "#C4C4C4", "#DDDDDD"
_THIN, _JOIN = "#B0B0B0", "#BBBBBB"
_HIDDEN, _RECONSTRUCTED = "#0072B2", "#D55E00"
# More lines than these are a gray area.
_MOST_JOINED = 300
LETTERS_PER_INCH = 13  # of the small text, roughly
# How white what points straight away becomes.
_PALEST = 0.7
# What is gray from the beginning becomes white by so much less.
_LESS = 0.6


def limit_of(*vectors: Tensor | Array) -> float:
    """Half the width of a panel that holds the unit circle and all these vectors or lengths, with a margin."""
    return 1.1 * max([1.0, *(float(np.abs(to_numpy(v)).max(initial=0)) for v in vectors)])


def wrapped(titles: Sequence[str] | None, instances: int, inches: float) -> list[str]:
    """Titles of panels so wide, in lines; ValueError where there are not as many as instances."""
    if titles is not None and len(titles) != instances:
        raise ValueError(f"there are {instances} instances, but {len(titles)} titles")
    return [textwrap.fill(title, int(inches * LETTERS_PER_INCH)) for title in titles or []]


def checked_vectors(values: Any, name: str) -> Array:
    """Vectors (instances, n, 2 or 3) as an array; ValueError where they are no such thing or not finite."""
    vectors = to_numpy(values)
    if vectors.ndim != 3 or vectors.shape[2] not in (2, 3) or 0 in vectors.shape:
        raise ValueError(f"{name} must have the shape (instances, n, 2) or (instances, n, 3), not {vectors.shape}")
    if not np.isfinite(vectors).all():
        raise ValueError(f"{name} must be finite, but some of their values are not")
    return vectors


def checked_pair(hidden: Any, reconstructions: Any) -> tuple[Array, Array]:
    """Hidden states and their reconstructions as arrays of one shape (instances, n, 2 or 3)."""
    before, after = checked_vectors(hidden, "hidden states"), checked_vectors(reconstructions, "reconstructions")
    if before.shape != after.shape:
        raise ValueError(f"hidden states of shape {before.shape} cannot have reconstructions of shape {after.shape}")
    return before, after


def for_each(instances: int, values: Any, name: str) -> Array:
    """Vectors of shape (instances or 1, n, 2 or 3) as (instances, n, 2 or 3)."""
    vectors = checked_vectors(values, name)
    if len(vectors) not in (1, instances):
        raise ValueError(f"{name} must be those of {instances} instances or of one for all, not of {len(vectors)}")
    return np.broadcast_to(vectors, (instances, *vectors.shape[1:]))


def towards(vectors: Array) -> Array:
    """How much vectors (…, 2 or 3) point towards the viewer: from −1, straight away, to 1; 0 in a plane, (…)."""
    if vectors.shape[-1] == 2:
        return np.zeros(vectors.shape[:-1])
    lengths = np.linalg.norm(vectors, axis=-1)
    return np.asarray(vectors[..., 2] / np.where(lengths > 0, lengths, 1))


def paler(colors: Any, nearness: Array) -> Array:
    """Colors (…, 3), whiter the more their arrows point away, as `towards` says it."""
    whiteness = _PALEST * np.maximum(-nearness, 0)[..., None]
    return np.asarray(colors) * (1 - whiteness) + whiteness


def circles(centers: Array, radius: float) -> LineCollection:
    """Thin circles about centers (n, 2)."""
    angles = np.linspace(0, 2 * np.pi, 73)
    circle = radius * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return LineCollection(list(centers[:, None] + circle), colors=_THIN, linewidths=0.7, zorder=2)


def gray(vectors: Array) -> list[Array]:
    """The colors of directions behind, (n, 2 or 3), paler where they point away."""
    return list(paler(to_rgb(BEHIND), _LESS * towards(vectors)))


def draw_arrows(ax: Axes, origins: Array, vectors: Array, inches: float, colors: Any = BEHIND) -> Quiver:
    """Draw an arrow from each origin (n, 2), its vector (n, 2) in units of the axes and its shaft so many inches wide.

    All artists here have one order, so that what is drawn later lies on top.
    """
    lengths: dict[str, Any] = {"angles": "xy", "scale_units": "xy", "scale": 1}
    return ax.quiver(*origins.T, *vectors.T, color=colors, units="inches", width=inches, zorder=2, **lengths)


def draw_dots(ax: Axes, before: Array, after: Array, count: int, size: float) -> list[Any]:
    """Draw hidden states and their reconstructions, (n, 2) each, and answer the artists.

    A panel of at most 300 dots has lines that join them, and one of more has smaller dots.
    """
    artists: list[Any] = []
    if count <= _MOST_JOINED:
        lines = LineCollection(list(np.stack([before, after], axis=1)), colors=_JOIN, linewidths=0.4, zorder=2)
        artists.append(ax.add_collection(lines, autolim=False))
    size = size if count <= _MOST_JOINED else 0.6 * size
    style: dict[str, Any] = {"marker": "o", "linestyle": "none", "markersize": size, "markeredgewidth": 0}
    for dots, color in ((before, _HIDDEN), (after, _RECONSTRUCTED)):
        artists += ax.plot(*dots.T, color=color, zorder=2, **style)
    return artists


def dot_handles() -> list[Line2D]:
    """What a legend says of the dots."""
    named = (("hidden states", _HIDDEN), ("reconstructions", _RECONSTRUCTED))
    return [Line2D([], [], color=color, marker="o", markersize=4, lw=0, label=name) for name, color in named]


def reference_handles(behind: str, *, circle: bool = True, deep: bool = False) -> list[Line2D]:
    """What a legend says of the directions behind, where they have a name, of the circle, and of pale arrows."""
    gray = Line2D([], [], color=BEHIND, lw=3, label=behind)
    ring = Line2D([], [], color=_THIN, marker="o", fillstyle="none", markersize=7, lw=0, label="length 1")
    pale = Line2D([], [], color=tuple(paler(to_rgb("black"), np.array(-1.0))), lw=2, label="pale: away")
    return [*([gray] if behind else []), *([ring] if circle else []), *([pale] if deep else [])]


def line_count(texts: Sequence[str]) -> int:
    """Lines of the longest of some texts."""
    return max((text.count("\n") + 1 for text in texts), default=0)
