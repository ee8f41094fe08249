"""A sweep at a glance: the test error over what was varied, beside PCA and the mean image, and what it cost."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FormatStrFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator

from ae_lightning.plots.figure import Figure

# Okabe and Ito's colors, which color-blind readers can tell apart.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_LONGEST_LABEL = 22
_WIDTH, _HEIGHT = 10.0, 4.8


class SweepPoint(NamedTuple):
    """The finished runs of one point of a sweep's grid, one for each seed."""

    values: tuple[Any, ...]  #: of the swept keys, in their order: numbers or text
    errors: Sequence[float]  #: on the test set, mean over images and pixels, of each run
    pca: float  #: error of PCA of the same width
    pca_is_exact: bool  #: whether PCA of the code's width leaves nothing but rounding
    mean_image: float  #: error of the mean image
    parameters: float
    seconds: Sequence[float]  #: of training, of the runs that logged it
    linear: str = "PCA"  #: what the linear baseline is: PCA, or of samples with targets a linear regression


class _Line(NamedTuple):
    label: str
    color: Any
    points: list[SweepPoint]
    at: np.ndarray  # of the points on the x axis


def mean_and_spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean, and standard deviation with n − 1 in the denominator; NaN where there are too few values."""
    array = np.asarray(values, dtype=np.float64)
    return (
        float(array.mean()) if array.size else math.nan,
        float(array.std(ddof=1)) if array.size > 1 else math.nan,
    )


def sweep_figure(points: Sequence[SweepPoint], keys: Sequence[str]) -> Figure:
    """Draw the test error over the first key, a line for each value of the others; seconds and parameters beside it.

    Lines are means over seeds, small dots the seeds, bands or bars ± one standard deviation. Numbers that span more
    than a factor of 10 are on a logarithmic axis; what is not a number is a category. PCA of the same width is left
    out where it is exact, and the mean image is drawn where that does not squeeze the rest.

    Args:
        points: The finished points, each with one error at least.
        keys: Names of the swept keys, as many as each point has values.

    Returns:
        The figure.
    """
    figure = Figure(figsize=(_WIDTH, _HEIGHT), layout="constrained")
    grid = figure.add_gridspec(2, 3)
    main = figure.add_subplot(grid[:, :2])
    cost = [figure.add_subplot(grid[row, 2]) for row in range(2)]
    axis = _HorizontalAxis(points, keys[0] if keys else "")
    lines = list(_lines(points, keys, axis))
    for line in lines:
        _draw_errors(main, line, axis)
        _draw_cost(cost[0], line, [mean_and_spread(point.seconds)[0] for point in line.points], axis)
        _draw_cost(cost[1], line, [point.parameters for point in line.points], axis)
    _limit_errors(main, points)
    references = [*_draw_pca(main, lines, axis), *_draw_mean_image(main, points, lines, axis)]
    main.set_ylabel("mean squared error, test set")
    several = max(len(point.errors) for point in points) > 1
    main.set_title("Test error" + (", mean over seeds ± standard deviation" if several else ""), fontsize=11)
    for ax, title in zip(cost, ("Training time, seconds", "Parameters"), strict=True):
        ax.set_title(title, fontsize=10)
        ax.tick_params(labelsize=8)
    _scale(cost[0], [value for point in points for value in point.seconds])
    _scale(cost[1], [point.parameters for point in points])
    for ax, inches in ((main, 5.8), (cost[0], 2.6), (cost[1], 2.6)):
        axis.apply(ax, inches)
        ax.grid(alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
    cost[0].set_xlabel("")  # the panel below it has the same
    cost[0].tick_params(labelbottom=False)
    _draw_legend(figure, lines, references)
    return figure


class _HorizontalAxis:
    """Places of the first key's values: on a number line where all are numbers, else one after the other."""

    def __init__(self, points: Sequence[SweepPoint], name: str) -> None:
        found = [point.values[0] if point.values else "" for point in points]
        self.name = name
        self.numeric = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in found)
        self.values: list[Any] = sorted(set(found)) if self.numeric else list(dict.fromkeys(map(str, found)))
        low, high = (self.values[0], self.values[-1]) if self.numeric else (0, 0)
        self.log = self.numeric and low > 0 and high / low > 10

    def at(self, point: SweepPoint) -> float:
        value = point.values[0] if point.values else ""
        return float(value) if self.numeric else float(self.values.index(str(value)))

    @property
    def joined(self) -> bool:
        """Whether a line between points means something."""
        return self.numeric and len(self.values) > 1

    def apply(self, ax: Axes, inches: float) -> None:
        """Set scale, limits, ticks and labels of an axis that is so wide."""
        places = np.array(self.values if self.numeric else range(len(self.values)), dtype=np.float64)
        if self.log:
            ax.set_xscale("log")
        ax.set_xlim(*self._limits(places))
        labels = [_number(value) if self.numeric else _shorten(str(value)) for value in self.values]
        size = 8 if inches < 4 else 10
        slanted = not self.numeric and sum(len(label) + 2 for label in labels) * size * 0.6 / 72 > inches
        shown = range(len(places)) if not self.numeric else self._readable(places, labels, size, inches)
        ax.xaxis.set_major_locator(FixedLocator([places[i] for i in shown]))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.set_xticklabels(
            [labels[i] for i in shown],
            fontsize=size,
            rotation=30 if slanted else 0,
            ha="right" if slanted else "center",
            rotation_mode="anchor" if slanted else "default",
        )
        ax.set_xlabel(self.name, fontsize=size)

    def _limits(self, places: np.ndarray) -> tuple[float, float]:
        if not self.numeric:
            return -0.6, len(places) - 0.4
        low, high = places[0], places[-1]
        if self.log:
            room = (high / low) ** 0.06
            return low / room, high * room
        room = 0.06 * (high - low) or 0.5 * abs(low) or 0.5
        return low - room, high + room

    def _readable(self, places: np.ndarray, labels: list[str], size: int, inches: float) -> list[int]:
        """Those ticks, from the right, whose labels leave room between them."""
        low, high = self._limits(places)
        place = (lambda x: math.log(x)) if self.log else (lambda x: x)
        scale = inches / (place(high) - place(low))
        shown: list[int] = []
        for i in reversed(range(len(places))):
            half = (len(labels[i]) + len(labels[shown[-1]])) / 2 + 1 if shown else 0
            if not shown or (place(places[shown[-1]]) - place(places[i])) * scale > half * size * 0.6 / 72:
                shown.append(i)
        return shown[::-1]


def _lines(points: Sequence[SweepPoint], keys: Sequence[str], axis: _HorizontalAxis) -> Iterator[_Line]:
    groups: dict[tuple[str, ...], list[SweepPoint]] = {}
    for point in points:
        groups.setdefault(tuple(map(str, point.values[1:])), []).append(point)
    many = len(groups) > len(_COLORS)
    for number, (rest, members) in enumerate(groups.items()):
        color = colormaps["viridis"](number / len(groups)) if many else _COLORS[number]
        label = ", ".join(f"{key} {_shorten(value)}" for key, value in zip(keys[1:], rest, strict=True))
        ordered = sorted(members, key=axis.at)
        at = np.array([axis.at(point) for point in ordered])
        if not axis.joined and len(groups) > 1 and not axis.numeric:  # side by side within the category
            at = at + 0.5 * (number / (len(groups) - 1) - 0.5)
        yield _Line(label, color, ordered, at)


def _draw_errors(ax: Axes, line: _Line, axis: _HorizontalAxis) -> None:
    means, spreads = np.array([mean_and_spread(point.errors) for point in line.points]).T
    joined = axis.joined and len(line.points) > 1
    style = "-" if joined else "none"
    ax.plot(line.at, means, color=line.color, marker="o", markersize=6, linestyle=style, zorder=3)
    some = np.isfinite(spreads)
    if joined and some.all():
        ax.fill_between(line.at, means - spreads, means + spreads, color=line.color, alpha=0.18, linewidth=0)
    elif some.any():
        ax.errorbar(
            line.at[some], means[some], spreads[some], color=line.color, linestyle="none", capsize=4, linewidth=1.5
        )
    for place, point in zip(line.at, line.points, strict=True):
        if len(point.errors) > 1:
            ax.scatter([place] * len(point.errors), point.errors, s=9, color="white", edgecolors=line.color, zorder=4)


def _limit_errors(ax: Axes, points: Sequence[SweepPoint]) -> None:
    """A logarithmic scale over all errors; a band that reaches down to zero is cut there."""
    shown = [value for point in points for value in (*point.errors, sum(mean_and_spread(point.errors)))]
    shown += [point.pca for point in points if not point.pca_is_exact]
    positive = [value for value in shown if math.isfinite(value) and value > 0]
    if not positive:
        return
    ax.set_yscale("log")
    low, high = min(positive), max(positive)
    room = max((high / low) ** 0.08, 1.08)
    ax.set_ylim(low / room, high * room)
    _label_log(ax, low / room, high * room)


def _label_log(ax: Axes, low: float, high: float) -> None:
    """Round numbers beside a logarithmic axis: powers of ten alone would label next to nothing of a decade."""
    decades = math.log10(high / low)
    if decades > 2.5:
        ax.yaxis.set_minor_formatter(NullFormatter())
        return
    subs = (1, 2, 5) if decades > 1.5 else (1, 2, 3, 5, 7)
    ticks = (LogLocator(subs=subs) if decades > 0.8 else MaxNLocator(6)).tick_values(low, high)
    ax.yaxis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    ax.yaxis.set_minor_locator(NullLocator())
    ax.yaxis.set_major_formatter(FormatStrFormatter("%g"))


def _draw_pca(ax: Axes, lines: Sequence[_Line], axis: _HorizontalAxis) -> list[Line2D]:
    """PCA of the same width: in black where all lines share it, else in the color of each line."""
    seen: dict[Any, float] = {}
    for line in lines:
        for point in line.points:
            if not point.pca_is_exact:
                seen.setdefault(axis.at(point), point.pca)
    bars = [(line, [point for point in line.points if not point.pca_is_exact]) for line in lines]
    shared = all(math.isclose(seen[axis.at(p)], p.pca, rel_tol=1e-6) for _, points in bars for p in points)
    if not seen:
        return []
    for line, points in bars[:1] if shared else bars:
        bar = sorted(seen.items()) if shared else [(axis.at(point), point.pca) for point in points]
        _draw_reference(ax, bar, axis, "black" if shared else line.color, "--", 1.4)
    label = " or ".join(sorted({point.linear for line in lines for point in line.points}))
    return [Line2D([], [], color="black", linestyle="--", linewidth=1.4, label=f"{label} of the same width")]


def _draw_mean_image(
    ax: Axes, points: Sequence[SweepPoint], lines: Sequence[_Line], axis: _HorizontalAxis
) -> list[Line2D]:
    low, high = ax.get_ylim()
    errors = sorted({axis.at(point): point.mean_image for point in points}.items())
    lowest, highest = (pick(error for _, error in errors) for pick in (min, max))
    label = "mean image"
    room = max(1.6, (high / low) ** 0.4) if ax.get_yscale() == "log" else None
    if room is not None and low / room <= lowest and highest <= high * room:
        ax.set_ylim(min(low, lowest / 1.15), max(high, highest * 1.15))
        _label_log(ax, *ax.get_ylim())
        _draw_reference(ax, errors, axis, "gray", "-", 0.9)
    else:
        where = "above" if highest > high else "below"
        label += f" {highest:.3g}, {where}" if len({error for _, error in errors}) == 1 else f", {where}"
    return [Line2D([], [], color="gray", linewidth=0.9, label=label)]


def _draw_reference(
    ax: Axes,
    places: Sequence[tuple[float, float]],
    axis: _HorizontalAxis,
    color: Any,
    style: Literal["-", "--"],
    width: float,
) -> None:
    at, values = np.array(places).T
    same = np.allclose(values, values[0], rtol=1e-6, atol=0)
    if same and len(places) == len(axis.values):
        ax.axhline(values[0], color=color, linestyle=style, linewidth=width, zorder=1)
    elif axis.joined and len(places) > 1:
        ax.plot(at, values, color=color, linestyle=style, linewidth=width, zorder=1)
    elif axis.numeric:
        ax.plot(at, values, color=color, marker="_", markersize=16, linestyle="none", markeredgewidth=width, zorder=1)
    else:
        ax.hlines(values, at - 0.42, at + 0.42, colors=color, linestyles=style, linewidth=width, zorder=1)


def _draw_cost(ax: Axes, line: _Line, values: Sequence[float], axis: _HorizontalAxis) -> None:
    style = "-" if axis.joined else "none"
    ax.plot(line.at, values, color=line.color, marker="o", markersize=4, linewidth=1.2, linestyle=style)


def _scale(ax: Axes, values: Sequence[float]) -> None:
    """Logarithmic where the values span more than a factor of 10, else from zero."""
    positive = [value for value in values if value > 0]
    if not positive:
        ax.text(0.5, 0.5, "not recorded", ha="center", va="center", transform=ax.transAxes, color="gray")
        ax.set_yticks([])
    elif max(positive) / min(positive) > 10:
        ax.set_yscale("log")
        _label_log(ax, *ax.get_ylim())
    else:
        ax.set_ylim(0, 1.15 * max(positive))
        ax.yaxis.set_major_formatter(lambda value, _: f"{value:,.10g}")


def _draw_legend(figure: Figure, lines: Sequence[_Line], references: Sequence[Line2D]) -> None:
    handles = [Line2D([], [], color=line.color, marker="o", label=line.label or "this autoencoder") for line in lines]
    figure.legend(handles=[*handles, *references], loc="outside lower center", ncols=4, frameon=False, fontsize=9)


def _number(value: float) -> str:
    return f"{value:g}" if abs(value) < 1e6 else f"{value:.3g}"


def _shorten(text: str) -> str:
    return text if len(text) <= _LONGEST_LABEL else f"{text[: _LONGEST_LABEL - 1]}…"
