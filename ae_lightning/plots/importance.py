"""Which units matter: how importance is distributed, how it changes in training, and what it says of their effect."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import cycle
from typing import Any, Literal

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import BoundaryNorm, ListedColormap, to_rgb
from matplotlib.ticker import MaxNLocator

from ae_lightning.plots.checks import finite_array
from ae_lightning.plots.figure import Figure
from ae_lightning.plots.scales import log_if_spanning
from ae_lightning.plots.scatter import CLASS_COLORS
from ae_lightning.plots.tiles import Array

# Okabe and Ito's colors, which color-blind readers can tell apart.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7")
_BLUE, _VERMILION, _GRAY = *_COLORS[:2], "#C8C8C8"
# Part of the largest value below which an axis ends or is linear: what is smaller is as good as nothing.
_SMALL = 1e-3
_LABELLED = 6


def importance_distribution(importances: Any, steps: Any, title: str | None = None) -> Figure:
    """Draw the importance of units, largest first, and the share of the total in the first ones: a line per moment.

    Args:
        importances: Importance of each unit at each moment, not negative, (moments, latent).
        steps: Optimizer step of each moment, (moments,).
        title: Title of the figure.

    Returns:
        The figure, its lines light at the first moment and dark at the last one. The left panel has a logarithmic
        scale where importances span more than a decade, down to a thousandth of the largest.

    Raises:
        ValueError: If a shape does not fit, there is nothing to draw, or a value is negative or not finite.
    """
    values, at = _history(importances, steps)
    if values.min() < 0:
        raise ValueError(f"importances must not be negative, but the smallest is {values.min():g}")
    moments, latent = values.shape
    ordered = -np.sort(-values, axis=1)
    colors = colormaps["viridis_r"](np.linspace(0.08, 1, moments) if moments > 1 else [1.0])  # not the lightest yellow
    figure, (left, right) = _figure(10.5, 4.2, 2)
    ranks = np.arange(1, latent + 1)
    for line, color in zip(ordered, colors, strict=True):
        total = np.cumsum(line, dtype=np.float64)
        left.plot(ranks[line > 0], line[line > 0], color=color)
        right.plot([0, *ranks], [0, *total / (total[-1] or math.nan)], color=color)
    right.plot([0, latent], [0, 1], color="black", linestyle=":", linewidth=1, label="all units alike")
    right.legend(frameon=False, fontsize=9, loc="lower right")
    _describe(left, right, ordered)
    xlabel = "units, the most important first"
    left.set(xlabel=xlabel, ylabel="importance", xlim=(0, latent + 1))
    right.set(xlabel=xlabel, ylabel="share of all importance", xlim=(0, latent), ylim=(0, 1.02))
    if moments > 1:
        _step_bar(figure, at, colors)
    if title:
        figure.suptitle(title, fontsize=11)
    return figure


def top_unit_tracking(importances: Any, steps: Any, k: int = 20) -> Figure:
    """Draw the rank of the units that are on top in the end over the course of training.

    Args:
        importances: Importance of each unit at each moment, (moments, latent).
        steps: Optimizer step of each moment, (moments,).
        k: Number of units on top.

    Returns:
        The figure, rank 1 at its top. The k units have thick lines and their number at the right; units that were
        once among the first k have thin gray ones. Ranks below k are on a logarithmic scale.

    Raises:
        ValueError: If a shape does not fit, there is nothing to draw, a value is not finite, or k is not positive.
    """
    values, at = _history(importances, steps)
    latent = values.shape[1]
    if k < 1:
        raise ValueError(f"at least one unit must be on top, not {k}")
    k = min(k, latent)
    ranks = np.empty(values.shape, dtype=np.int64)
    np.put_along_axis(ranks, np.argsort(-values, axis=1, kind="stable"), np.arange(1, latent + 1)[None], axis=1)
    last = np.argsort(ranks[-1])[:k]
    once = np.setdiff1d(np.flatnonzero((ranks <= k).any(axis=0)), last)
    figure, (ax,) = _figure(8.5, max(3.5, 1.2 + 0.3 * k), grid="x")
    lines = [np.column_stack([at, ranks[:, unit]]) for unit in once]
    ax.add_collection(LineCollection(lines, colors=_GRAY, linewidths=0.8, zorder=1))
    for place, unit in enumerate(last):
        color, style = CLASS_COLORS[place % len(CLASS_COLORS)], "-" if place // len(CLASS_COLORS) % 2 == 0 else "--"
        ax.plot(at, ranks[:, unit], style, color=color, linewidth=2, marker="" if len(at) > 1 else "o", zorder=2)
        label = ax.annotate(str(unit), (at[-1], place + 1), (5, 0), textcoords="offset points", va="center")
        label.set(color=_darkened(color), fontsize=9, weight="bold")
    _rank_axis(ax, k, lowest=int(ranks[:, [*last, *once]].max()))
    xlim = (at.min(), at.max()) if at.max() > at.min() else None
    ax.set(xlabel="optimizer step", ylabel="rank by importance", xlim=xlim)
    others = "1 other" if len(once) == 1 else f"{len(once)} others"
    passed = f"; gray: {others}, once among the first {k}" if len(once) else ""
    ax.set_title(f"The {k} most important units in the end{passed}", fontsize=10)
    return figure


def _darkened(color: str) -> tuple[float, ...]:
    """A color in which letters can be read on white."""
    return tuple(0.6 * part for part in to_rgb(color))


def importance_against_causal(importance: Any, causal: Any, correlation: float) -> Figure:
    """Draw the causal effect of each unit against the importance that its weights give it.

    Args:
        importance: Importance of each unit, (latent,).
        causal: Its causal effect, such as by how much the error grows without it, (latent,); also a negative one.
        correlation: Rank correlation of the two, for the title.

    Returns:
        The figure. A scale is logarithmic where its values span more than a decade, but linear about zero. Of the units
        that either of them counts among the more important half, those whose ranks differ most are labeled.

    Raises:
        ValueError: If shapes differ or are other ones, there is nothing to draw, or a value is not finite.
    """
    weights = finite_array("importances", importance, 1, "(latent,)")
    effects = finite_array("causal effects", causal, 1, "(latent,)")
    if len(weights) != len(effects):
        raise ValueError(f"there are importances of {len(weights)} units, but causal effects of {len(effects)}")
    figure, (ax,) = _figure(6.6, 5.4)
    ax.scatter(weights, effects, s=12, color=_BLUE, alpha=0.5, linewidths=0, rasterized=True)
    _wide_scale(ax, "x", weights)
    _wide_scale(ax, "y", effects)
    if effects.min() < 0:
        ax.axhline(0, color="black", linewidth=0.7, zorder=0)
    _label_most_different(ax, weights, effects)
    ax.set(xlabel="importance by weights", ylabel="causal effect")
    ax.set_title(f"Rank correlation {correlation:.3f}", fontsize=11)
    return figure


def removal_curve(
    counts: Any, errors: Any, baseline_error: float | None = None, baseline: str = "mean image"
) -> Figure:
    """Draw the error against the number of units removed.

    Args:
        counts: Number of units removed, rising, (n,).
        errors: The error without them, (n,), the most important ones removed first. Or, per name of an order, such as
            "random order", the errors in it, (n,) each.
        baseline_error: An error to compare with, as a dashed line; None leaves it out.
        baseline: What it is the error of.

    Returns:
        The figure.

    Raises:
        ValueError: If a shape does not fit, there is nothing to draw, or a value is not finite.
    """
    at = finite_array("counts", counts, 1, "(n,)")
    curves = errors if isinstance(errors, Mapping) else {"most important first": errors}
    if not curves:
        raise ValueError("there are no errors to draw")
    figure, (ax,) = _figure(6.8, 4.4)
    for (name, values), color in zip(curves.items(), cycle(_COLORS), strict=False):
        error = finite_array(f"errors of {name}", values, 1, "(n,)")
        if error.shape != at.shape:
            raise ValueError(f"there are {len(error)} errors of {name}, but {len(at)} counts")
        ax.plot(at, error, color=color, marker="o", markersize=4, label=name)
    if baseline_error is not None:
        label = f"{baseline} {baseline_error:.3g}"
        ax.axhline(baseline_error, color="black", linestyle="--", linewidth=1.2, label=label)
    ax.set(xlabel="units removed", ylabel="error", ylim=(0, None))
    ax.legend(frameon=False, fontsize=9)
    return figure


def encoder_decoder_cosines(cosines: Any, importance: Any | None = None) -> Figure:
    """Draw the distribution of the cosines between encoder and decoder vectors, and them against importance.

    Args:
        cosines: Cosine of each unit's two vectors, (latent,).
        importance: Importance of each unit, (latent,); None leaves out the second panel.

    Returns:
        The figure. The scale of the importance is as in ``importance_against_causal``.

    Raises:
        ValueError: If a shape does not fit, a value is not finite, or a cosine is not within [-1, 1].
    """
    values = finite_array("cosines", cosines, 1, "(latent,)")
    if np.abs(values).max() > 1.0001:  # by rounding
        raise ValueError(f"cosines must lie within -1 and 1, but they reach from {values.min():g} to {values.max():g}")
    figure, axes = _figure(*((5.2, 4.0, 1) if importance is None else (10.4, 4.0, 2)))
    median = float(np.median(values))
    axes[0].hist(values.clip(-1, 1), bins=80, range=(-1, 1), color=_BLUE)
    axes[0].axvline(median, color=_VERMILION, linestyle="--", label=f"median {median:.3f}")
    axes[0].legend(frameon=False, fontsize=9)
    axes[0].set(xlabel="cosine of encoder and decoder vector", ylabel="units", xlim=(-1, 1))
    axes[0].yaxis.set_major_locator(MaxNLocator(integer=True))
    if importance is not None:
        weights = finite_array("importances", importance, 1, "(latent,)")
        if len(weights) != len(values):
            raise ValueError(f"there are cosines of {len(values)} units, but importances of {len(weights)}")
        axes[1].scatter(weights, values, s=12, color=_BLUE, alpha=0.5, linewidths=0, rasterized=True)
        _wide_scale(axes[1], "x", weights)
        axes[1].set(xlabel="importance", ylabel="cosine of encoder and decoder vector", ylim=(-1.03, 1.03))
    return figure


def _history(importances: Any, steps: Any) -> tuple[Array, Array]:
    values = finite_array("importances", importances, 2, "(moments, latent)")
    at = finite_array("steps", steps, 1, "(moments,)")
    if len(at) != len(values):
        raise ValueError(f"there are importances of {len(values)} moments, but {len(at)} steps")
    return values, at


def _describe(left: Axes, right: Axes, ordered: Array) -> None:
    """The scale of importances (moments, latent), largest first, and what is said of those in the end."""
    high, last = float(ordered.max()), ordered[-1]
    left.set_ylim(0, 1.05 * high or 1)
    if high > 0 and log_if_spanning(left, ordered[ordered > _SMALL * high]):
        left.set_ylim(max(_SMALL * high, 0.8 * ordered[ordered > 0].min()), 1.3 * high)
    small = int((last <= _SMALL * last.max()).sum())
    rest = f"\n{small} of them at most {_SMALL:g} of the largest in the end" if small else ""
    left.set_title(f"Importance of {len(last)} units{rest}", fontsize=10)
    total = np.cumsum(last, dtype=np.float64)
    half = int(np.searchsorted(total, total[-1] / 2)) + 1
    right.set_title(f"Half of it in {half} of {len(last)} units in the end" if total[-1] > 0 else "", fontsize=10)


def _step_bar(figure: Figure, steps: Array, colors: Array) -> None:
    """Colors by the place of a moment: moments that grow ever rarer would have one color by their step."""
    norm = BoundaryNorm(np.arange(len(steps) + 1) - 0.5, len(steps))
    bar = figure.colorbar(ScalarMappable(norm, ListedColormap(colors)), ax=figure.axes)
    places = np.unique(np.linspace(0, len(steps) - 1, min(len(steps), 6)).round().astype(int))
    bar.set_ticks(places.tolist(), labels=[f"{steps[place]:g}" for place in places])
    bar.ax.tick_params(which="both", length=0)
    bar.set_label("optimizer step", fontsize=9)


def _rank_axis(ax: Axes, k: int, lowest: int) -> None:
    """Rank 1 at the top; ranks beyond k, which may be hundreds, in less than half of the height."""
    ticks = sorted({1, *range(5, k + 1, 5), k})
    if lowest > 2 * k:
        ax.set_yscale("symlog", linthresh=k, linscale=1.6 * math.log10(lowest / k))
        beyond = (tick for power in range(9) for tick in (10**power, 2 * 10**power, 5 * 10**power))
        ticks += [tick for tick in beyond if k < tick <= lowest]
    ax.set_ylim(lowest + 0.5, 0.5)
    ax.set_yticks(ticks, labels=[str(tick) for tick in ticks])
    ax.set_yticks([], minor=True)
    if lowest > k:
        ax.axhline(k + 0.5, color="black", linewidth=0.7, linestyle=":", zorder=0)


def _wide_scale(ax: Axes, axis: str, values: Array) -> None:
    """A logarithmic axis where values span more than a decade, linear about zero where some lie near it."""
    high, low = np.abs(values).max(), np.abs(values).min()
    set_scale = ax.set_xscale if axis == "x" else ax.set_yscale
    if values.min() > _SMALL * high and high > 10 * low:
        set_scale("log")
    elif high > 10 * low:
        set_scale("symlog", linthresh=10.0 ** math.floor(math.log10(_SMALL * high)), linscale=0.5)


def _ranks(values: Array) -> Array:
    """Rank 1 for the largest; equal values share the mean of their ranks."""
    _, places, counts = np.unique(-values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[places])


def _label_most_different(ax: Axes, weights: Array, effects: Array) -> None:
    """Number the units whose ranks differ most, of the first half by either: the rest may do next to nothing."""
    by_weight, by_effect = _ranks(weights), _ranks(effects)
    apart = np.where(np.minimum(by_weight, by_effect) <= (len(weights) + 1) / 2, by_weight - by_effect, 0)
    chosen = [unit for unit in np.argsort(-np.abs(apart), kind="stable")[:_LABELLED] if apart[unit] != 0]
    ax.scatter(weights[chosen], effects[chosen], s=18, color=_VERMILION)
    line = {"arrowstyle": "-", "color": _VERMILION, "linewidth": 0.6}
    for side in (-1, 1):  # what has more effect than weight lies to the upper left of the others
        units = sorted((unit for unit in chosen if side * apart[unit] < 0), key=lambda unit: -side * effects[unit])
        for place, unit in enumerate(units):
            spot, end = (side * 35, -side * (12 + 13 * place)), (weights[unit], effects[unit])
            text = ax.annotate(str(unit), end, spot, textcoords="offset points", arrowprops=line)
            text.set(color=_VERMILION, fontsize=8, ha="left" if side > 0 else "right", va="center")


def _figure(
    width: float, height: float, panels: int = 1, grid: Literal["both", "x"] = "both"
) -> tuple[Figure, list[Axes]]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
        ax.grid(axis=grid, alpha=0.25)
    return figure, list(axes)
