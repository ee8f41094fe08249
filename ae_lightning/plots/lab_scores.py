"""What models of a lab reach: at one L0 as points with intervals, over several as lines, and for kinds of truths."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FormatStrFormatter, MaxNLocator, NullLocator

from ae_lightning.plots.checks import finite_array
from ae_lightning.plots.figure import Figure
from ae_lightning.plots.tiles import Array

# Okabe and Ito's colors, which color-blind readers can tell apart; baselines are gray.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = "osD^vPX"
_GRAY = "#6E6E6E"
_STYLES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)), (0, (2, 2)))
_MOST_LABELS = 5
_BARS = "bars: 95 % interval over seeds"
_CUT = "; bars without an end go on"
# How far beyond all that was found intervals are shown, as a part of its range.
_BEYOND = 0.5


class Reached(NamedTuple):
    """A number of one model."""

    at: float  #: L0 of its codes, in the mean over seeds
    mean: float
    half: float  #: half the width of its interval; NaN where there is none
    seeds: Sequence[float]  #: that of each seed


class Reaching(NamedTuple):
    """A model in one panel."""

    points: Sequence[Reached]
    is_baseline: bool = False


Panels = Mapping[str, Mapping[str, Reaching]]
"""By the title of a panel, and by the name of a model, what it reaches."""


class Kinds(NamedTuple):
    """Kinds of truths along one axis."""

    name: str  #: of the axis
    places: Sequence[float]
    is_logarithmic: bool
    lines: Mapping[str, Sequence[float]]  #: by the name of a model, a mean for each kind


def reached(panels: Panels) -> Figure:
    """Draw what each model reaches, in a panel for each number.

    At a single L0 models stand below each other, the one with the largest number in the first panel on top: a large dot
    for the mean, a bar for the interval, small dots for the seeds. Over several L0s each is a line; baselines are
    gray.

    Args:
        panels: Points of each model, each panel with one at least.

    Raises:
        ValueError: There is nothing to draw, or a number is not finite.
    """
    if not panels or not all(panels.values()):
        raise ValueError("there are no models to draw")
    for title, models in panels.items():
        finite_array(title, [point[:2] for model in models.values() for point in model.points], 2, "(points, 2)")
    several = any(len(model.points) > 1 for models in panels.values() for model in models.values())
    return _over_l0(panels) if several else _ranked(panels)


def _ranked(panels: Panels) -> Figure:
    first = next(iter(panels.values()))
    names = list(dict.fromkeys(name for models in panels.values() for name in models))
    names.sort(key=lambda name: first[name].points[0].mean if name in first else -math.inf)
    figure = Figure(figsize=(3.0 + 2.6 * len(panels), 1.3 + 0.32 * len(names)), layout="constrained")
    all_axes = np.atleast_1d(figure.subplots(1, len(panels), sharey=True))
    cut = False
    for ax, (title, models) in zip(all_axes, panels.items(), strict=True):
        for name, model in models.items():
            _draw_row(ax, names.index(name), model)
        cut |= _limit(ax, [model.points[0] for model in models.values()])
        ax.set_title(title, fontsize=10)
        ax.xaxis.set_major_locator(MaxNLocator(4))
        ax.set_ylim(-0.6, len(names) - 0.4)
        _tidy(ax)
    all_axes[0].set_yticks(range(len(names)), labels=names)
    if any(len(point.seeds) > 1 for models in panels.values() for model in models.values() for point in model.points):
        figure.supxlabel(f"{_BARS}; small dots: seeds{_CUT if cut else ''}", fontsize=9)
    return figure


def _draw_row(ax: Axes, place: int, model: Reaching) -> None:
    (point,) = model.points
    color = _GRAY if model.is_baseline else _COLORS[0]
    ax.plot(point.seeds, [place] * len(point.seeds), ".", color=color, markersize=4, alpha=0.5)
    half = 0.0 if math.isnan(point.half) else point.half
    ax.errorbar([point.mean], [place], xerr=[half], fmt="o", color=color, markersize=6, capsize=2.5, elinewidth=1.2)


def _limit(ax: Axes, points: Sequence[Reached]) -> bool:
    """Let no interval of few seeds press together what was found; True where one is cut."""
    found = [value for point in points for value in (point.mean, *point.seeds)]
    halves = [0.0 if math.isnan(point.half) else point.half for point in points]
    low, high = min(found), max(found)
    room = _BEYOND * (high - low)
    first = min(point.mean - half for point, half in zip(points, halves, strict=True))
    last = max(point.mean + half for point, half in zip(points, halves, strict=True))
    cut = room > 0 and (first < low - room or last > high + room)
    if cut:
        ax.set_xlim(max(first, low - room) - 0.1 * room, min(last, high + room) + 0.1 * room)
    return cut


def _over_l0(panels: Panels) -> Figure:
    figure = Figure(figsize=(3.0 + 3.6 * len(panels), 4.0), layout="constrained")
    names = list(dict.fromkeys(name for models in panels.values() for name in models))
    baselines = {name for models in panels.values() for name, model in models.items() if model.is_baseline}
    styles = _styles([name for name in names if name not in baselines], [name for name in names if name in baselines])
    for ax, (title, models) in zip(np.atleast_1d(figure.subplots(1, len(panels))), panels.items(), strict=True):
        for name, model in models.items():
            points = sorted(model.points)
            halves = [0.0 if math.isnan(point.half) else point.half for point in points]
            ax.errorbar(
                [point.at for point in points],
                [point.mean for point in points],
                yerr=halves,
                capsize=2.5,
                elinewidth=1.0,
                label=name,
                **styles[name],
            )
        ax.set_title(title, fontsize=10)
        ax.set_xlabel("L0, active latents of a sample")
        _label_l0(ax, [point.at for model in models.values() for point in model.points])
        _tidy(ax)
    handles = [Line2D([], [], label=name, **styles[name]) for name in names]
    has_bars = any(
        not math.isnan(point.half) for models in panels.values() for model in models.values() for point in model.points
    )
    bars = _BARS if has_bars else None
    figure.legend(handles=handles, loc="outside right upper", frameon=False, fontsize=9, title=bars, title_fontsize=8)
    return figure


def _label_l0(ax: Axes, places: Sequence[float]) -> None:
    low, high = min(places), max(places)
    if low <= 0 or high / low < 3:
        return
    ax.set_xscale("log")
    _label_places(ax, places)


def _label_places(ax: Axes, places: Sequence[float] | Array) -> None:
    """Write numbers below a logarithmic axis, of those that are close together the first."""
    near = max(1.3, (max(places) / min(places)) ** (1 / _MOST_LABELS))
    shown: list[float] = []
    for place in sorted(places):
        if not shown or place > near * shown[-1]:
            shown.append(place)
    ax.xaxis.set_major_locator(FixedLocator(shown))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FormatStrFormatter("%.2g"))


def missed(rows: Mapping[str, Sequence[Kinds]]) -> Figure:
    """Draw which truths are found, and which are missed: means over kinds of truths, a line for each model.

    Args:
        rows: By what is shown, such as F1, a panel for each way in which truths differ.

    Raises:
        ValueError: There is nothing to draw, or a place is not finite.
    """
    if not rows or not all(rows.values()):
        raise ValueError("there are no kinds of truths to draw")
    columns = max(map(len, rows.values()))
    figure = Figure(figsize=(2.6 + 3.2 * columns, 0.6 + 2.7 * len(rows)), layout="constrained")
    names = list(dict.fromkeys(name for panels in rows.values() for kinds in panels for name in kinds.lines))
    styles = _styles(names, [])
    grid = figure.subplots(len(rows), columns, sharey="row", squeeze=False)
    for axes, (title, panels) in zip(grid, rows.items(), strict=True):
        for ax, kinds in zip(axes, panels, strict=False):
            places = finite_array(kinds.name, kinds.places, 1, "(kinds,)")
            for name, values in kinds.lines.items():
                ax.plot(places, values, label=name, **styles[name])
            if kinds.is_logarithmic:
                ax.set_xscale("log")
                _label_places(ax, places)
            elif np.allclose(places, places.round()):
                ax.xaxis.set_major_locator(MaxNLocator(integer=True))
            ax.set_ylim(-0.03, 1.03)
            ax.set_xlabel(kinds.name)
            _tidy(ax)
        for ax in axes[len(panels) :]:
            ax.set_visible(False)
        axes[0].set_ylabel(title)
    handles = [Line2D([], [], label=name, **styles[name]) for name in names]
    figure.legend(handles=handles, loc="outside right upper", frameon=False, fontsize=9)
    return figure


def _styles(models: Sequence[str], baselines: Sequence[str]) -> dict[str, dict[str, Any]]:
    """How each name is drawn: models in colors, from the seventh on with other lines; baselines in gray."""
    drawn = {
        name: {
            "color": _COLORS[number % len(_COLORS)],
            "marker": _MARKERS[number % len(_MARKERS)],
            "linestyle": _STYLES[number // len(_COLORS) % len(_STYLES)],
            "linewidth": 1.5,
            "markersize": 5,
        }
        for number, name in enumerate(models)
    }
    for number, name in enumerate(baselines):
        style = _STYLES[number % len(_STYLES)]
        drawn[name] = {"color": _GRAY, "linestyle": style, "linewidth": 1.2, "marker": "", "markersize": 0}
    return drawn


def _tidy(ax: Axes) -> None:
    ax.grid(alpha=0.25)
    ax.spines[["top", "right"]].set_visible(False)
