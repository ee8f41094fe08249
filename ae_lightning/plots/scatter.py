"""Codes as points in a plane, by class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable

from ae_lightning.plots.figure import Figure
from ae_lightning.plots.tiles import Array, to_numpy

# Paul Tol's muted colors, which color-blind readers can tell apart, and black.
CLASS_COLORS = (
    *("#332288", "#88CCEE", "#44AA99", "#117733", "#999933"),
    *("#DDCC77", "#CC6677", "#882255", "#AA4499", "#000000"),
)
_LIGHT = ("#88CCEE", "#DDCC77")
# Distance between the names of two classes, as a part of the axes.
_NAME_SPACE = 0.06


def code_scatter(coordinates: Any, labels: Any, axis_labels: Sequence[str], title: str | None = None) -> Figure:
    """Draw codes as points, colored by class.

    Up to ten classes have colors of their own and their name at the median of their points; more of them, or labels
    that are measurements, a color map. Codes with a single coordinate are drawn as a strip per class, or against
    their label, and without labels as a histogram. Codes that are not finite are left out.

    Args:
        coordinates: Shape (n, 2) or (n, 1).
        labels: One number per code, (n,); None or an empty (n, 0) where there are none.
        axis_labels: What the coordinates are.
        title: Title of the figure.

    Returns:
        The figure.

    Raises:
        ValueError: If a shape is another one.
    """
    points = to_numpy(coordinates)
    if points.ndim != 2 or points.shape[1] not in (1, 2):
        raise ValueError(f"coordinates must have the shape (n, 1 or 2), but theirs is {points.shape}")
    classes = None if labels is None else to_numpy(labels)
    if classes is not None and classes.size == 0:
        classes = None
    if classes is not None and classes.shape != (len(points),):
        raise ValueError(f"{len(points)} codes need labels of shape ({len(points)},), but theirs is {classes.shape}")
    finite = np.isfinite(points).all(axis=1)
    points, classes = points[finite], None if classes is None else classes[finite]
    figure = Figure(figsize=(6.6, 5.6), layout="constrained")
    ax = figure.subplots()
    if classes is None and points.shape[1] == 1:
        ax.hist(points[:, 0], bins=60, color=CLASS_COLORS[0])
        ax.set_ylabel("codes")
    else:
        _draw_points(ax, points, classes)
    ax.set_xlabel(axis_labels[0])
    if points.shape[1] == 2:
        ax.set_ylabel(axis_labels[1])
    ax.spines[["top", "right"]].set_visible(False)
    if title:
        ax.set_title(title, fontsize=11)
    return figure


def _draw_points(ax: Axes, points: Array, labels: Array | None) -> None:
    style: dict[str, Any] = {"s": 6 if len(points) > 2000 else 14, "linewidths": 0, "alpha": 0.7, "rasterized": True}
    # Drawn class after class, the last one would hide the others.
    order = np.random.default_rng(0).permutation(len(points))
    points, labels = points[order], None if labels is None else labels[order]
    if labels is None:
        ax.scatter(points[:, 0], points[:, 1], color=CLASS_COLORS[0], **style)
        return
    names, places = np.unique(labels, return_inverse=True)
    few = len(names) <= len(CLASS_COLORS)
    if points.shape[1] == 2 and not few:
        dots = ax.scatter(points[:, 0], points[:, 1], c=labels, cmap="viridis", **style)
        ax.figure.colorbar(ScalarMappable(dots.norm, dots.cmap), ax=ax, label="label")  # without their transparency
        return
    colors: Any = np.array(CLASS_COLORS)[places] if few else CLASS_COLORS[0]
    if points.shape[1] == 2:
        ax.scatter(points[:, 0], points[:, 1], color=colors, **style)
        _name_classes(ax, points, places, names)
        return
    height = places + np.random.default_rng(1).uniform(-0.35, 0.35, len(points)) if few else labels
    ax.scatter(points[:, 0], height, color=colors, **style)
    ax.set_ylabel("class" if few else "label")
    if few:
        ax.set_yticks(range(len(names)), labels=[f"{name:g}" for name in names])


def _name_classes(ax: Axes, points: Array, places: Array, names: Array) -> None:
    medians = [np.median(points[places == place], axis=0) for place in range(len(names))]
    # The limits must not change any more, because the room that a name takes is a part of them.
    low, high = (np.array(ends) for ends in zip(ax.set_xlim(ax.get_xlim()), ax.set_ylim(ax.get_ylim()), strict=True))
    spots = low + _apart((np.array(medians).reshape(-1, 2) - low) / (high - low)) * (high - low)
    for (x, y), name, color in zip(spots, names, CLASS_COLORS, strict=False):
        box = {"boxstyle": "round,pad=0.2", "facecolor": color, "edgecolor": "white"}
        text_color = "black" if color in _LIGHT else "white"
        ax.text(x, y, f"{name:g}", color=text_color, weight="bold", ha="center", va="center", bbox=box)


def _apart(spots: Array) -> Array:
    """Move spots (n, 2) of the unit square as little as it takes for their names not to lie upon each other."""
    spots = spots + np.random.default_rng(0).normal(0, 1e-6, spots.shape)  # equal ones have no direction to part in
    for _ in range(200):
        between = spots[:, None] - spots[None]
        distance = np.linalg.norm(between, axis=-1, keepdims=True)
        overlap = np.clip(_NAME_SPACE - distance, 0, None) * (distance > 0)
        if not overlap.any():
            break
        spots = spots + 0.5 * (between / np.where(distance > 0, distance, 1) * overlap).sum(axis=1)
    return spots
