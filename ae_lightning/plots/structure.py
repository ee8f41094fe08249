"""Units in the order of how structured they are, beside their importance, and what they look like."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from ae_lightning.plots.checks import finite_array
from ae_lightning.plots.figure import Figure
from ae_lightning.plots.quantiles import draw_quantile_bands, quantile_handles
from ae_lightning.plots.tiles import Array, as_images, to_rgb_signed
from ae_lightning.plots.weights import cell_size, draw_cells

_BLUE, _VERMILION, _GRAY = "#0072B2", "#D55E00", "#E3E3E3"
_COLUMNS = 14
_WIDTH = 10.5
_ROUNDING = 1e-6


def structure_figure(
    structure: Any,
    importance: Any,
    rows: Any,
    image_shape: tuple[int, ...],
    noise: float,
    history: tuple[Any, Any] | None = None,
    most: int = 42,
) -> Figure:
    """Draw how structured units are, most structured first, with their importance and images of some of them.

    Args:
        structure: How structured each unit is, such as Moran's I, at most 1, (latent,).
        importance: Importance of each, not negative, (latent,).
        rows: What each writes, (latent, input).
        image_shape: Shape of an input: ``(c, h, w)`` or ``(h, w)``.
        noise: Standard deviation of the measure over white noise, whose mean is near 0.
        history: Steps (k,), and how structured units were at each of them (k, latent); None leaves it out.
        most: How many units are shown as images, from the most structured to the least at equal distances in rank.

    Returns:
        The figure. The gray band is white noise, two standard deviations to either side; the bar below an image says
        how important a unit is beside the most important one.

    Raises:
        ValueError: If a shape does not fit, or a value is not finite.
    """
    values = finite_array("structures", structure, 1, "(latent,)")
    weights = finite_array("importances", importance, 1, "(latent,)")
    vectors = finite_array("rows", rows, 2, "(latent, input)")
    if not len(values) == len(weights) == len(vectors):
        raise ValueError(f"there are {len(values)} structures, {len(weights)} importances and {len(vectors)} rows")
    ranked = np.argsort(-values, kind="stable")
    shown = ranked[np.unique(np.linspace(0, len(ranked) - 1, min(most, len(ranked))).round().astype(int))]
    rgb = to_rgb_signed(as_images(vectors[shown], image_shape), shared=False)
    width, height = cell_size(rgb, labeled=True)
    columns = min(_COLUMNS, len(shown))
    images = -(-len(shown) // columns) * height * min(_WIDTH / (columns * width), 1.0) + 0.35
    figure = Figure(figsize=(_WIDTH, 3.4 + images), layout="constrained")
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=[3.4, images])[:, 0]
    panels = above.subplots(1, 3 if history is not None else 2)
    _draw_ranks(panels[0], values[ranked], noise)
    _draw_importance(panels[1], values, weights, noise)
    if history is not None:
        _draw_history(panels[2], *history, noise)
    for ax in panels:
        ax.grid(alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
    ax = below.subplots()
    _draw_units(ax, rgb, columns, values[shown], weights[shown] / (weights.max() or 1.0))
    ax.set_title("what units write, the most structured first; above it the measure, below it importance", fontsize=10)
    return figure


def _draw_ranks(ax: Axes, values: Array, noise: float) -> None:
    beyond = int((values > 2 * noise).sum())
    _band(ax, noise)
    ax.plot(np.arange(1, len(values) + 1), values, color=_BLUE, marker="o" if len(values) <= 40 else "", markersize=3)
    ax.set(xlabel="units, the most structured first", ylabel="Moran's I", xlim=(0, len(values) + 1))
    ax.set_title(f"{beyond:,} of {len(values):,} units rise above noise", fontsize=10)


def _draw_importance(ax: Axes, values: Array, weights: Array, noise: float) -> None:
    _band(ax, noise)
    positive = weights > _ROUNDING * weights.max()
    ax.scatter(weights[positive], values[positive], s=10, color=_BLUE, alpha=0.5, linewidths=0, rasterized=True)
    if positive.any() and weights[positive].max() > 10 * weights[positive].min():
        ax.set_xscale("log")
    left_out = "" if positive.all() else ", where there is any"  # how many latents are dead is not asked here
    ax.set(xlabel=f"importance{left_out}", ylabel="Moran's I")
    ax.set_title("structure and importance", fontsize=10)


def _draw_history(ax: Axes, steps: Any, values: Any, noise: float) -> None:
    at = finite_array("steps", steps, 1, "(k,)")
    then = finite_array("structures", values, 2, "(k, latent)")
    if len(at) != len(then):
        raise ValueError(f"there are structures of {len(then)} moments, but {len(at)} steps")
    _band(ax, noise)
    draw_quantile_bands(ax, at, then)
    ax.set(xlabel="optimizer step", ylabel="Moran's I", xlim=(at.min(), at.max()) if at.max() > at.min() else None)
    ax.set_title("structure over training", fontsize=10)
    ax.legend(handles=quantile_handles(), frameon=False, fontsize=7, loc="lower right")


def _band(ax: Axes, noise: float) -> None:
    ax.axhspan(-2 * noise, 2 * noise, color=_GRAY, linewidth=0, zorder=0)


def _draw_units(ax: Axes, rgb: Array, columns: int, values: Array, weights: Array) -> None:
    width = cell_size(rgb, labeled=True)[0]
    _, centers = draw_cells(ax, rgb, columns, [f"{value:.2f}".replace("-", "−") for value in values])
    image = rgb.shape[1] / rgb.shape[2]
    for place, weight in enumerate(weights):
        corner = (place % columns * width, centers[place // columns] + image / 2 + 0.02)
        ax.add_patch(Rectangle(corner, float(weight), 0.07, color=_VERMILION, linewidth=0))
    low, _ = ax.get_ylim()
    ax.set_ylim(bottom=low + 0.1)
    ax.set_axis_off()
