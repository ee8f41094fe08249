"""Sparse dictionaries: their thresholds, active and dead latents over training, and what prefixes reconstruct."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator, PercentFormatter, StrMethodFormatter

from ae_lightning.plots.checks import finite_array
from ae_lightning.plots.figure import Figure
from ae_lightning.plots.scales import log_if_spanning

# Okabe and Ito's colors, which color-blind readers can tell apart.
_COLORS = ("#0072B2", "#D55E00", "#009E73")
_FEW = 30
_BINS = 40
# From this value on, axes of counts have ticks at whole numbers only.
_COUNTED = 3


def threshold_figure(
    thresholds: Any = None, history: tuple[Any, Any] | None = None, label: str = "threshold"
) -> Figure:
    """Draw the distribution of thresholds over latents, and their mean over optimizer steps; each where it is given.

    Args:
        thresholds: One for each latent, (latent,).
        history: Steps and thresholds, (n,) each.
        label: What a threshold is, with its units.

    Returns:
        The figure, with one panel or two.

    Raises:
        ValueError: If there is nothing to draw, a shape does not fit, or a value is not finite.
    """
    panels = (thresholds is not None) + (history is not None)
    if not panels:
        raise ValueError("there are no thresholds to draw")
    figure = Figure(figsize=(5.2 * panels, 3.8), layout="constrained")
    axes = list(figure.subplots(1, panels, squeeze=False)[0])
    if thresholds is not None:
        values = finite_array("thresholds", thresholds, 1, "(latent,)")
        ax = axes.pop(0)
        ax.hist(values, bins=min(_BINS, max(1, len(values) // 2)), color=_COLORS[0])
        middle = float(np.median(values))
        ax.axvline(middle, color=_COLORS[1], linestyle="--", label=f"median {middle:.3g}")
        ax.set(xlabel=label, ylabel="latents")
        ax.set_title(f"Thresholds of {len(values)} latents", fontsize=10)
        ax.yaxis.set_major_locator(MaxNLocator(integer=True))
        _finish(ax)
    if history is not None:
        name = "mean threshold" if thresholds is not None else "threshold"
        axes[0].set_title(f"{name} over training", fontsize=10)
        _draw_curves(axes[0], {name: history}, label, {})
        _finish(axes[0], legend=False)
    return figure


def history_figure(
    curves: Mapping[str, tuple[Any, Any]], label: str, levels: Mapping[str, float] | None = None
) -> Figure:
    """Draw numbers over optimizer steps in one panel.

    Args:
        curves: Steps and values, (n,) each, by name.
        label: What the values are.
        levels: Values that curves are to be compared with, by name, as dashed lines.

    Returns:
        The figure; its values begin at 0, unless they are positive and span more than a decade.

    Raises:
        ValueError: If there is nothing to draw, a shape does not fit, or a value is not finite.
    """
    if not curves:
        raise ValueError("there are no curves to draw")
    figure = Figure(figsize=(6.6, 3.8), layout="constrained")
    ax = figure.subplots()
    _draw_curves(ax, curves, label, levels or {})
    _finish(ax, legend=False)
    if ax.get_yscale() == "linear" and ax.get_ylim()[1] >= _COUNTED:
        ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside upper center", frameon=False, fontsize=9)  # curves leave no free corner
    return figure


def prefix_figure(widths: Any, errors: Any, explained: Any) -> Figure:
    """Draw the mean squared error, and the variance explained, by the width of a prefix.

    Args:
        widths: Latents of each prefix, (prefixes,), rising.
        errors: Mean squared error of what each decodes to, (prefixes,).
        explained: Fraction of variance explained by it, (prefixes,).

    Raises:
        ValueError: If a shape does not fit, or a value is not finite.
    """
    at = finite_array("widths", widths, 1, "(prefixes,)")
    figure = Figure(figsize=(9.0, 3.8), layout="constrained")
    for ax, name, values, color in zip(
        figure.subplots(1, 2),
        ("mean squared error", "variance explained"),
        (errors, explained),
        _COLORS[:2],
        strict=True,
    ):
        numbers = finite_array(name, values, 1, "(prefixes,)")
        if numbers.shape != at.shape:
            raise ValueError(f"there are {len(at)} prefixes, but {name} has {len(numbers)} values")
        ax.plot(at, numbers, color=color, marker="o")
        ax.set_xscale("log", base=2)
        ax.xaxis.set_major_locator(FixedLocator(at.tolist()))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
        ax.set(xlabel="first latents that decode", ylabel=name, ylim=(min(0.0, 1.1 * numbers.min()), None))
        _finish(ax)
    ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    return figure


def _draw_curves(ax: Axes, curves: Mapping[str, tuple[Any, Any]], label: str, levels: Mapping[str, float]) -> None:
    drawn = []
    for (name, (steps, values)), color in zip(curves.items(), _COLORS, strict=False):
        at, numbers = finite_array(f"steps of {name}", steps, 1, "(n,)"), finite_array(name, values, 1, "(n,)")
        if at.shape != numbers.shape:
            raise ValueError(f"{name} has {len(numbers)} values, but {len(at)} steps")
        ax.plot(at, numbers, color=color, label=name, marker="o" if len(at) <= _FEW else "", markersize=4)
        drawn.append(numbers)
    for name, level in levels.items():
        ax.axhline(level, color="black", linestyle="--", linewidth=1.2, label=f"{name} {level:g}")
    if not log_if_spanning(ax, np.concatenate([*drawn, np.array(list(levels.values()))])):
        ax.set_ylim(bottom=0)
    ax.set(xlabel="optimizer step", ylabel=label)
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))


def _finish(ax: Axes, legend: bool = True) -> None:
    ax.grid(alpha=0.25)
    ax.spines[["top", "right"]].set_visible(False)
    if legend and ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False, fontsize=9)
