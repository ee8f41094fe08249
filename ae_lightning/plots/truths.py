"""How latents come to stand for true features in the course of training."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ae_lightning.plots.checks import finite_array, fractions
from ae_lightning.plots.figure import Figure
from ae_lightning.plots.quantiles import draw_quantile_bands, quantile_handles
from ae_lightning.plots.scatter import CLASS_COLORS
from ae_lightning.plots.tiles import Array

_BLUE, _VERMILION, _GRAY = "#0072B2", "#D55E00", "#8A8A8A"
_MOST_LABELS = 6
_COSINE = "|cosine| with the latent matched to it"


def truth_history(steps: Any, cosines: Any, title: str = "") -> Figure:
    """Draw how near the latent that is matched to each truth has come, at each moment.

    Args:
        steps: Optimizer step of each moment, (moments,).
        cosines: |cosine| of each truth with its latent, (moments, features).
        title: Title of the figure.

    Returns:
        The figure. Of at most ten truths there is a line for each; of more there is a heat map with a row for each, the
        best in the end on top, and beside it how they are distributed. Moments stand at equal distances.

    Raises:
        ValueError: If a shape does not fit, or a value is not finite or not within 0 and 1.
    """
    at = finite_array("steps", steps, 1, "(moments,)")
    values = fractions("cosines", cosines, 2, "(moments, features)")
    _require_moments(values, "cosines", len(at))
    few = values.shape[1] <= len(CLASS_COLORS)
    figure = Figure(figsize=(6.6 if few else 10.5, 4.2), layout="constrained")
    panels = figure.subplots(1, 1 if few else 2, squeeze=False)[0]
    if few:
        _draw_lines(panels[0], values)
        figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    else:
        _draw_heat_map(panels[0], values)
        _draw_bands(panels[1], values)
    for ax in panels:
        _label_moments(ax, at)
    if title:
        figure.suptitle(title, fontsize=10)
    return figure


def latent_history(steps: Any, standing: Any, born: Any, died: Any, swapped: Any, most: int, title: str = "") -> Figure:
    """Draw how many latents stand for a truth at each moment, and how many are born, die and swap between two.

    Args:
        steps: Optimizer step of each moment, (moments,), two at least.
        standing: Latents that stand for a truth at each, (moments,).
        born: Latents that came to stand for one since the moment before, (moments - 1,).
        died: Latents that ceased to, (moments - 1,).
        swapped: Latents that stand for another one than before, (moments - 1,).
        most: How many could stand for one.
        title: Title of the figure.

    Returns:
        The figure. Moments stand at equal distances, and bars between two.

    Raises:
        ValueError: If a shape does not fit, or a value is not finite.
    """
    at = finite_array("steps", steps, 1, "(moments,)")
    if len(at) < 2:
        raise ValueError("what becomes of latents needs two moments at least")
    held = finite_array("latents that stand for a truth", standing, 1, "(moments,)")
    _require_moments(held, "latents that stand for a truth", len(at))
    events = {}
    for name, counts in (("born", born), ("swapped", swapped), ("died", died)):
        events[name] = finite_array(f"latents that were {name}", counts, 1, "(moments - 1,)")
        _require_moments(events[name], f"latents that were {name}", len(at) - 1)
    figure = Figure(figsize=(10.5, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(range(len(at)), held, color=_BLUE, marker="o" if len(at) <= 30 else "", markersize=4)
    left.axhline(most, color="black", linestyle="--", linewidth=1.2, label=f"most that can: {most:,}")
    left.set(ylabel="latents", ylim=(0, 1.06 * max(most, 1)))
    left.set_title(f"latents that stand for a truth: {int(held[-1]):,} in the end", fontsize=10)
    left.legend(frameon=False, fontsize=9, loc="lower right")
    _draw_events(right, events)
    for ax in (left, right):
        _label_moments(ax, at)
        ax.yaxis.set_major_locator(MaxNLocator(integer=True))
        ax.grid(alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
    if title:
        figure.suptitle(title, fontsize=10)
    return figure


def _draw_lines(ax: Axes, values: Array) -> None:
    places = range(len(values))
    marker = "o" if len(values) == 1 else ""
    for truth, (of_truth, color) in enumerate(zip(values.T, CLASS_COLORS, strict=False)):
        ax.plot(places, of_truth, color=color, marker=marker, label=f"truth {truth}", clip_on=False, zorder=2)
    ax.plot(places, values.mean(axis=1), color="black", marker=marker, linestyle="--", label="mean (MCC)")
    ax.set(ylabel=_COSINE, ylim=(0, 1.02))
    ax.grid(alpha=0.25)
    ax.spines[["top", "right"]].set_visible(False)


def _draw_heat_map(ax: Axes, values: Array) -> None:
    ranked = values[:, np.argsort(-values[-1], kind="stable")].T
    image = ax.imshow(ranked, vmin=0, vmax=1, cmap="viridis", aspect="auto")
    ax.set(ylabel="true features, the best in the end first", yticks=[])
    ax.set_title(f"each of {len(ranked):,} truths", fontsize=10)
    bar = ax.figure.colorbar(image, ax=ax, label=_COSINE, shrink=0.9)
    bar.ax.tick_params(labelsize=8)


def _draw_bands(ax: Axes, values: Array) -> None:
    places = np.arange(len(values))
    draw_quantile_bands(ax, places, values)
    mean = values.mean(axis=1)
    marker = "o" if len(values) == 1 else ""
    (line,) = ax.plot(places, mean, color="black", linestyle="--", marker=marker, label="mean (MCC)")
    ax.set(ylabel=_COSINE, ylim=(0, 1.02))
    ax.set_title(f"all of them: the mean ends at {mean[-1]:.3f}", fontsize=10)
    ax.grid(alpha=0.25)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(handles=[*quantile_handles("truth"), line], frameon=False, fontsize=8, loc="best")


def _draw_events(ax: Axes, events: dict[str, Array]) -> None:
    """Bars between moments: births and swaps above zero, deaths below."""
    places = np.arange(len(events["born"])) + 0.5
    width = 0.8 if len(places) <= 30 else 1.0
    drawn = (
        ("born", "born", events["born"], 0, _BLUE),
        ("swapped", "went to another truth", events["swapped"], events["born"], _VERMILION),
        ("died", "died", -events["died"], 0, _GRAY),
    )
    for name, said, heights, bottom, color in drawn:
        label = f"{said}: {int(events[name].sum()):,} in all"
        ax.bar(places, heights, width, bottom=bottom, color=color, label=label)
    ax.axhline(0, color="black", linewidth=0.8)
    ax.yaxis.set_major_formatter(lambda value, _: f"{abs(value):,.0f}")
    ax.set_ylabel("latents since the moment before")
    # Bars may stand anywhere.
    ax.legend(frameon=False, fontsize=8, loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, columnspacing=1.2)


def _label_moments(ax: Axes, steps: Array) -> None:
    """The steps of a few of the moments, which stand at equal distances, the first and the last among them."""
    count = len(steps)
    places = np.unique(np.linspace(0, count - 1, min(count, _MOST_LABELS)).round().astype(int))
    ax.set_xticks(places, labels=[f"{steps[place]:,.0f}" for place in places])
    ax.set_xlabel("optimizer step, a moment for each snapshot")


def _require_moments(values: Array, name: str, moments: int) -> None:
    if len(values) != moments:
        raise ValueError(f"{name} must be those of {moments} moments, but they are of {len(values)}")
