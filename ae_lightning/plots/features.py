"""Features as directions in a plane or in space, several instances side by side.

What toy models of superposition learn, and the sparse autoencoders trained on their hidden activations.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize, to_rgb
from matplotlib.lines import Line2D
from torch import Tensor

from ae_lightning.plots import plane
from ae_lightning.plots.figure import Figure
from ae_lightning.plots.scatter import CLASS_COLORS

# Neighbors in this order are far apart, so that a handful of features is not three greens.
_COLORS = tuple(CLASS_COLORS[i] for i in (0, 6, 3, 5, 1, 7, 2, 4, 8, 9))
_MOST_COLUMNS = 8


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
        directions: Shape (instances, features, 2), or 3 with the third number towards the viewer; arrows that point
            away are pale.
        behind: Directions in light gray below, such as the true ones: (instances or 1, m, 2 or 3).
        titles: One for each instance.
        title: Title of the figure.
        name: What an arrow is called in the legend, such as latent.

    Returns:
        The figure, of rows of up to 8 panels.

    Raises:
        ValueError: If a shape is another one, a value is not finite, or the number of titles is another one.
    """
    vectors = plane.checked_vectors(directions, "directions")
    limit = plane.limit_of(vectors[..., :2], *([] if behind is None else [behind[..., :2]]))
    count = vectors.shape[1]
    few = count <= len(_COLORS)
    figure, axes = _panels(len(vectors), limit, behind, titles, title, beside=0.0 if few else 0.9)
    scale = ScalarMappable(Normalize(0, max(count - 1, 1)), "viridis")
    colors = np.array([to_rgb(c) for c in _COLORS[:count]]) if few else scale.to_rgba(np.arange(count))[:, :3]
    for ax, panel in zip(axes, vectors, strict=True):
        near = plane.towards(panel)
        order = np.argsort(near, kind="stable")  # the nearest last, on top
        shades = list(plane.paler(colors, near)[order])
        plane.draw_arrows(ax, np.zeros((count, 2)), panel[order, :2], 0.025, shades)
    handles = [Line2D([], [], color=tuple(c), lw=2, label=f"{name} {i}") for i, c in enumerate(colors)] if few else []
    deep = vectors.shape[-1] == 3
    _legend(figure, [*handles, *plane.reference_handles("" if behind is None else "true directions", deep=deep)])
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
        hidden: Shape (instances, n, 2), or 3 with the third number towards the viewer.
        reconstructions: Of the hidden states, in their order: (instances, n, 2 or 3).
        directions: Directions in light gray below, such as the features': (instances or 1, m, 2 or 3).
        titles: One for each instance.
        title: Title of the figure.

    Returns:
        The figure, of rows of up to 8 panels of the same scale, with a thin circle of radius 1.

    Raises:
        ValueError: If a shape is another one, a value is not finite, or the number of titles is another one.
    """
    states, decoded = (vectors[..., :2] for vectors in plane.checked_pair(hidden, reconstructions))
    limit = plane.limit_of(states, decoded, *([] if directions is None else [directions[..., :2]]))
    figure, axes = _panels(len(states), limit, directions, titles, title)
    for ax, before, after in zip(axes, states, decoded, strict=True):
        plane.draw_dots(ax, before, after, len(before), 2.5)
    _legend(figure, [*plane.dot_handles(), *plane.reference_handles("" if directions is None else "features")])
    return figure


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
    names = plane.wrapped(titles, instances, side)
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
            vectors = directions[i]
            plane.draw_arrows(ax, np.zeros_like(vectors[:, :2]), vectors[:, :2], 0.05, plane.gray(vectors))
        if names:
            ax.set_title(names[i], fontsize=9)
        axes.append(ax)
    return figure, axes


def _legend(figure: Figure, handles: Sequence[Line2D]) -> None:
    columns = max(2, int(figure.get_size_inches()[0] / 1.2))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=8)
