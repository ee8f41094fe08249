"""What sparsity costs: the error of dictionaries over how many of their latents are active."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.ticker import FixedLocator, FormatStrFormatter, LogLocator, MaxNLocator, NullLocator

from ae_lightning.plots.checks import finite_array
from ae_lightning.plots.figure import Figure
from ae_lightning.plots.sweep import mean_and_spread
from ae_lightning.plots.tiles import Array

# Okabe and Ito's colors, which color-blind readers can tell apart, and a gray; black is the reference's.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#888888")
_MARKERS = "osD^vPX"
_STYLES: tuple[Any, ...] = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (5, 1, 1, 1)))  # with more kinds than colors the next
_NEAR = 1.25  # places whose ratio is below this share a label
_MOST_LABELS = 12
_BARS = "bars: ± one standard deviation"


class FrontierPoint(NamedTuple):
    """The models of one setting, one for each seed."""

    l0: Sequence[float]  #: active latents of a sample, in the mean over samples
    fvu: Sequence[float]  #: fraction of variance unexplained


def frontier(
    lines: Mapping[str, Sequence[FrontierPoint]], reference: Sequence[tuple[float, float]] = (), name: str = "PCA"
) -> Figure:
    """Draw the fraction of variance unexplained over L0, a line for each kind of dictionary; less of both is better.

    Args:
        lines: Points by the name of a kind, each with one run at least.
        reference: Pairs of a width and what it leaves unexplained, as a dashed black line; empty for none.
        name: What the reference is called.

    Returns:
        The figure. Points are means over seeds, with a bar of ± one standard deviation (n − 1 in the denominator) in
        each direction where there are several, which the legend says. Both axes are logarithmic. From the eighth kind
        on colors come again, with another style of line.

    Raises:
        ValueError: If there is nothing to draw, a point has no runs, or not as many of one number as of the other, or
            numbers are not positive and finite.
    """
    if not lines:
        raise ValueError("there are no kinds of dictionaries to draw")
    figure = Figure(figsize=(7.6, 4.6), layout="constrained")
    ax = figure.subplots()
    ax.set(xscale="log", yscale="log", xlabel="L0, active latents of a sample", ylabel="variance unexplained (FVU)")
    places, errors = [], []
    for number, (kind, points) in enumerate(lines.items()):
        (at, across), (value, along) = _means(kind, points)
        ax.errorbar(at, value, along, across, label=kind, capsize=2.5, elinewidth=1.0, **_style(number))
        places += [*at]
        errors += [*value]
    if reference:
        widths, unexplained = _positive(f"numbers of {name}", reference, "(n, 2)").T
        ax.plot(widths, unexplained, color="black", linestyle="--", linewidth=1.4, label=name, zorder=1)
        places = [*widths]
        errors += [*unexplained]
    _label(ax.xaxis, _apart(places), "%.3g")
    low, high = min(errors) / 1.1, max(errors) * 1.1
    _label(ax.yaxis, _steps(low, high), "%g")
    ax.set_ylim(low, high)
    ax.grid(alpha=0.25)
    ax.spines[["top", "right"]].set_visible(False)
    several = any(len(point.l0) > 1 for points in lines.values() for point in points)
    figure.legend(
        loc="outside right upper", frameon=False, fontsize=9, title=_BARS if several else None, title_fontsize=8
    )
    return figure


def _style(number: int) -> dict[str, Any]:
    place = number % len(_COLORS)
    style = _STYLES[number // len(_COLORS) % len(_STYLES)]
    return {
        "color": _COLORS[place],
        "marker": _MARKERS[place],
        "linestyle": style,
        "markersize": 5,
        "linewidth": 1.5,
    }


def _means(kind: str, points: Sequence[FrontierPoint]) -> tuple[Array, Array]:
    """Means and standard deviations, (2, n) each, of L0 and of the unexplained, in the order of L0."""
    runs = [_positive(f"runs of {kind}", list(zip(*point, strict=True)), "(seeds, 2)") for point in points]
    if not runs:
        raise ValueError(f"there are no points of {kind}")
    rows = np.array([[mean_and_spread(numbers) for numbers in each.T] for each in runs])
    return tuple(rows[np.argsort(rows[:, 0, 0])].transpose(1, 2, 0))


def _positive(what: str, values: Any, shape: str) -> Array:
    array = finite_array(what, np.asarray(values, dtype=np.float64), 2, shape)
    if array.min() <= 0:
        raise ValueError(f"{what} must be positive on logarithmic axes, but one is {array.min():g}")
    return array


def _apart(places: Sequence[float]) -> list[float]:
    """Numbers near the places, the lowest of each that are close together; whole ones from 10 on."""
    near = max(_NEAR, (max(places) / min(places)) ** (1 / _MOST_LABELS))
    shown: list[float] = []
    for place in sorted(places):
        if not shown or place > near * shown[-1]:
            shown.append(round(place, 0 if place >= 10 else 1))
    return shown


def _steps(low: float, high: float) -> Sequence[float] | Array:
    """Numbers to be written along a logarithmic axis."""
    steps = LogLocator(subs=(1, 1.5, 2, 3, 5, 7)).tick_values(low, high)
    if sum(low <= step <= high for step in steps) > 1:
        return steps
    return MaxNLocator(5).tick_values(low, high)


def _label(axis: Any, places: Sequence[float] | Array, form: str) -> None:
    axis.set_major_locator(FixedLocator([place for place in places if place > 0]))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FormatStrFormatter(form))
