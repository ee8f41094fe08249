"""Runs side by side: their curves in the course of training, one color for what differs only by its seed."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FormatStrFormatter, LogLocator, MaxNLocator, NullLocator

from ae_lightning.plots.figure import Figure
from ae_lightning.plots.tiles import Array

VALIDATION_LOSS = "validation loss"
"""Title of the panel that is logarithmic where nothing else is asked for."""

# Okabe and Ito's colors, which color-blind readers can tell apart; with more groups the next style of line.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_STYLES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)))
_COLUMNS = 3
_LONGEST_LABEL = 30
# Width of a letter of the legend, of what is beside its text, and height of its lines, in inches.
_LETTER, _BESIDE, _LINE = 0.07, 0.6, 0.2
# So few values are drawn as points, too: a line of one value would not be seen.
_FEW = 30

_Curve = tuple[Array, Array]


def comparison_curves(
    curves: Mapping[str, Mapping[str, tuple[Any, Any]]],
    groups: Mapping[str, str] | None = None,
    *,
    log: Collection[str] = (VALIDATION_LOSS,),
) -> Figure:
    """Draw the curves of several runs over each other, a panel for each quantity.

    Args:
        curves: Per title of a panel and label of a run ``(steps, values)``, both (n,): optimizer steps and what was
            logged there. Values that are not finite are left out; a panel without any is, too.
        groups: Label of the group of each run; runs of a group differ only by their seed. None, or a run that is not
            in it, makes the run a group of its own.
        log: Titles of panels with a logarithmic axis, where all their values are positive.

    Returns:
        The figure. A group has one color (from the eighth on, a style of line as well) and one line in the legend.
        Several runs of a group are thin lines, and their mean, at the steps that all of them have, is a thick one.

    Raises:
        ValueError: If a curve has not as many values as steps, or there is nothing to draw.
    """
    panels = {title: _finite(title, lines) for title, lines in curves.items()}
    panels = {title: lines for title, lines in panels.items() if lines}
    if not panels:
        raise ValueError("there are no curves to draw")
    of = {run: (groups or {}).get(run, run) for lines in curves.values() for run in lines}
    drawn = {of[run] for lines in panels.values() for run in lines}
    shown = [group for group in dict.fromkeys(of.values()) if group in drawn]
    styles = {group: _style(number) for number, group in enumerate(shown)}
    columns = min(len(panels), _COLUMNS)
    rows = math.ceil(len(panels) / columns)
    width = max(4.0 * columns, 5.5)
    handles = _handles(styles, several=any(_are_several(lines, of) for lines in panels.values()))
    beside = min(max(1, int(width / _widest(handles))), len(handles))
    height = 3.2 * rows + 0.5 + _LINE * math.ceil(len(handles) / beside)
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False, sharex=True).ravel()
    for ax, (title, lines) in zip(axes, panels.items(), strict=False):
        for group, style in styles.items():
            _draw_group(ax, [curve for run, curve in lines.items() if of[run] == group], style)
        if title in log:
            _make_logarithmic(ax, np.concatenate([values for _, values in lines.values()]))
        ax.set_title(title, fontsize=11)
        ax.grid(alpha=0.25)
        ax.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        ax.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelsize=9, labelbottom=True)
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    figure.supxlabel("optimizer step", fontsize=10)
    figure.legend(handles=handles, loc="outside upper center", ncols=beside, frameon=False, fontsize=9)
    return figure


def shorten_middle(text: str, longest: int) -> str:
    """The text, with `…` for what is in its middle if it has more letters than `longest`."""
    if len(text) <= longest:
        return text
    head = longest // 2
    return f"{text[:head]}…{text[len(text) - (longest - head - 1) :]}"


def distinct_labels(labels: Sequence[str], longest: int = _LONGEST_LABEL) -> list[str]:
    """Labels shortened in their middle, less so where they would become the same."""
    for letters in range(longest, max(map(len, labels), default=0)):
        short = [shorten_middle(label, letters) for label in labels]
        if len(set(short)) == len(set(labels)):
            return short
    return list(labels)


def _finite(title: str, lines: Mapping[str, tuple[Any, Any]]) -> dict[str, _Curve]:
    """The curves that have finite values, without the others."""
    found: dict[str, _Curve] = {}
    for run, (steps, values) in lines.items():
        at, value = (np.asarray(part, dtype=np.float64).reshape(-1) for part in (steps, values))
        if at.shape != value.shape:
            raise ValueError(f"{title} of {run} has {value.size} values, but {at.size} steps")
        known = np.isfinite(value)
        if known.any():
            found[run] = at[known], value[known]
    return found


def _style(number: int) -> dict[str, Any]:
    style = _STYLES[number // len(_COLORS) % len(_STYLES)]
    return {"color": _COLORS[number % len(_COLORS)], "linestyle": style}


def _draw_group(ax: Axes, curves: Sequence[_Curve], style: Mapping[str, Any]) -> None:
    several = len(curves) > 1
    for steps, values in curves:
        thin = {"linewidth": 0.7, "alpha": 0.7} if several else {"linewidth": 1.6, "zorder": 3, **_marker(steps)}
        ax.plot(steps, values, **style, **thin)
    if several and len((mean := _mean(curves))[0]):
        ax.plot(*mean, **style, linewidth=2.4, zorder=3, **_marker(mean[0]))


def _marker(steps: Array) -> dict[str, Any]:
    return {"marker": "o", "markersize": 3.5} if len(steps) <= _FEW else {}


def _mean(curves: Sequence[_Curve]) -> _Curve:
    """Steps that all curves have, and the mean of their values there; the last of several values at a step counts."""
    tables = [dict(zip(*map(np.ndarray.tolist, curve), strict=True)) for curve in curves]
    steps = sorted(set.intersection(*map(set, tables)))
    means = [sum(table[step] for table in tables) / len(tables) for step in steps]
    return np.array(steps), np.array(means)


def _make_logarithmic(ax: Axes, values: Array) -> None:
    """A logarithmic axis with plain numbers beside it, where all values are positive."""
    low, high = values.min(), values.max()
    if low <= 0:
        return
    ax.set_yscale("log")
    if high < 6 * low:  # powers of ten alone would label next to nothing
        ax.yaxis.set_major_locator(MaxNLocator(6))
        ax.yaxis.set_minor_locator(NullLocator())
    elif high < 1000 * low:
        ax.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
        ax.yaxis.set_minor_formatter(FormatStrFormatter("%g"))
    ax.yaxis.set_major_formatter(FormatStrFormatter("%g"))
    ax.tick_params(which="both", labelsize=9)


def _are_several(lines: Mapping[str, _Curve], of: Mapping[str, str]) -> bool:
    """Whether a group has several curves in this panel."""
    return len({of[run] for run in lines}) < len(lines)


def _handles(styles: Mapping[str, Mapping[str, Any]], several: bool) -> list[Line2D]:
    """What the legend shows: a line for each group, and what the thin ones are."""
    labels = distinct_labels(list(styles))
    handles = [
        Line2D([], [], **style, linewidth=2.4, label=x) for style, x in zip(styles.values(), labels, strict=True)
    ]
    thin = Line2D([], [], color="gray", linewidth=0.7, label="thin: single seeds")
    return [*handles, thin] if several else handles


def _widest(handles: Sequence[Line2D]) -> float:
    return max(len(str(handle.get_label())) for handle in handles) * _LETTER + _BESIDE
