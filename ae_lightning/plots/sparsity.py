"""How sparse a code is: how often latents fire in the course of training, and how large their values are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from ae_lightning.plots.checks import finite_array, fractions, fractions_by_instance
from ae_lightning.plots.figure import Figure
from ae_lightning.plots.quantiles import QUANTILES, draw_quantile_bands, quantile_handles
from ae_lightning.plots.scales import log_above_small, log_if_spanning
from ae_lightning.plots.scatter import CLASS_COLORS
from ae_lightning.plots.tiles import Array, to_numpy

# Okabe and Ito's colors, which color-blind readers can tell apart.
_BLUE, _VERMILION, _GREEN = "#0072B2", "#D55E00", "#009E73"
_LINES = {"train": ("training", _BLUE, 0.8), "val": ("validation", _VERMILION, 2.2)}
_OTHER_LINE = ("value", _GREEN, 1.5)
_NEAR_ZERO = 1e-3
_BINS_PER_DECADE = 8


def fraction_active(
    steps: Any,
    densities: Any,
    probability: Any = None,
    titles: Sequence[str] | None = None,
    resampled: Any = None,
) -> Figure:
    """Draw how often latents fire in the course of training: a panel per instance.

    Fewer than ten latents are a line each. More of them are the median latent, the middle half and the middle 90 % of
    latents, as bands: of hundreds of lines nobody could say how many run where.

    Args:
        steps: Optimizer steps, (k,).
        densities: Fraction of samples on which each latent fires at each of them, (k, instances, latent).
        probability: The true probability of features as dashed lines: a number, (features,), or (instances, features);
            None leaves it out.
        titles: A title for each instance; None numbers them where there are several.
        resampled: Optimizer steps at which dead latents were drawn anew, (r,), as vertical lines.

    Returns:
        The figure. All panels have the same axes, and fractions begin at 0. Where they were ten times as large as they
        are in the end, such as those of latents that were just resampled, the axis is logarithmic above a small one.

    Raises:
        ValueError: If a shape does not fit, there is nothing to draw, or a fraction is not within [0, 1].
    """
    fired = fractions("densities", densities, 3, "(k, instances, latent)")
    at = finite_array("steps", steps, 1, "(k,)")
    instances = fired.shape[1]
    if len(at) != len(fired):
        raise ValueError(f"there are densities of {len(fired)} moments, but {len(at)} steps")
    if titles is None:
        titles = [f"instance {i}" for i in range(instances)] if instances > 1 else [""]
    if len(titles) != instances:
        raise ValueError(f"there are {instances} instances, but {len(titles)} titles")
    true = fractions_by_instance("probabilities", np.empty(0) if probability is None else probability, instances)
    few = fired.shape[2] < len(CLASS_COLORS)
    moments = np.empty(0) if resampled is None else to_numpy(resampled).reshape(-1)
    figure, axes = _grid(instances, 4, (6.6, 3.8) if instances == 1 else (3.1, 2.3))
    for i, (ax, title) in enumerate(zip(axes, titles, strict=True)):
        for moment in moments:
            ax.axvline(moment, color="#999999", linewidth=0.7, zorder=0)
        if few:
            _draw_latents(ax, at, fired[:, i])
        else:
            draw_quantile_bands(ax, at, fired[:, i])
        for value in np.unique(true[i]):
            ax.axhline(value, color="black", linestyle="--", linewidth=1.2, zorder=3)
        ax.set_title(title, fontsize=10)
    highest = fired.max(axis=2) if few else np.quantile(fired, QUANTILES[-1], axis=2)
    top = 1.05 * max(highest.max(), true.max(initial=0)) or 1.0
    log_above_small(axes[0], top, max(highest[-1].max(), true.max(initial=0)))
    axes[0].set(ylim=(0, top), xlim=(at.min(), at.max()) if at.max() > at.min() else None)
    figure.supxlabel("optimizer step", fontsize=10)
    figure.supylabel("fraction of samples on which a latent fires", fontsize=10)
    handles = [] if few else quantile_handles()
    handles += [Line2D([], [], color="black", linestyle="--", label="true probability of a feature")] * bool(true.size)
    handles += [Line2D([], [], color="#999999", linewidth=0.7, label="latents resampled")] * bool(moments.size)
    if handles:
        figure.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False, fontsize=9)
    return figure


def penalty_history(series: Mapping[str, tuple[Any, Any]], title: str | None = None) -> Figure:
    """Draw each term of the loss over optimizer steps: a panel per term.

    Args:
        series: Per name ``(steps, values)``, both (n,). ``train/l1`` is a thin line and ``val/l1`` a thick one in
            the panel ``l1``; a name without ``train/`` or ``val/`` is a panel of its own.
        title: Title of the figure.

    Returns:
        The figure. A panel has a logarithmic scale where all its values are positive and span more than a decade.

    Raises:
        ValueError: If there are no series, or one is empty, not finite, or of another shape than its steps.
    """
    panels: dict[str, list[tuple[str, Array, Array]]] = {}
    for name, (steps, values) in series.items():
        at = finite_array(f"steps of {name}", steps, 1, "(n,)")
        value = finite_array(f"values of {name}", values, 1, "(n,)")
        if at.shape != value.shape:
            raise ValueError(f"{name} has {len(value)} values, but {len(at)} steps")
        part, _, term = name.partition("/")
        panels.setdefault(term if part in _LINES else name, []).append((part, at, value))
    if not panels:
        raise ValueError("there are no terms of a loss to draw")
    size = (6.5, 4.2) if len(panels) == 1 else (4.0, 3.0)
    figure, axes = _grid(len(panels), 3, size, sharey=False)
    for ax, (term, lines) in zip(axes, panels.items(), strict=True):
        for part, at, value in sorted(lines, key=lambda line: line[0], reverse=True):  # a thin line above a thick one
            label, color, width = _LINES.get(part, _OTHER_LINE)
            marker = {"marker": "o", "markersize": 4} if len(at) <= 30 else {}
            ax.plot(at, value, color=color, linewidth=width, label=label, **marker)
        log_if_spanning(ax, np.concatenate([value for _, _, value in lines]))
        ax.set_title(term, fontsize=10)
        ax.grid(alpha=0.25)
    styles = {_LINES.get(part, _OTHER_LINE) for lines in panels.values() for part, _, _ in lines}
    handles = [Line2D([], [], color=color, linewidth=width, label=label) for label, color, width in sorted(styles)]
    figure.legend(handles=handles, loc="outside upper center", ncols=3, frameon=False, fontsize=9, title=title)
    figure.supxlabel("optimizer step", fontsize=10)
    return figure


def latent_histograms(z: Any, latents: Sequence[int] | None = None, most: int = 12, *, sparse: bool = True) -> Figure:
    """Draw the distribution of the values of single latents, and of all values together.

    Of a sparse code the single latents' values are those that are not zero.

    Args:
        z: Codes, (n, latent).
        latents: Latents to draw, in this order; None takes those of the largest mean magnitude, largest first.
        most: How many of these.
        sparse: Whether a latent that does not fire is exactly zero.

    Returns:
        The figure. The small panels have one range of values and counts of their own; the large one, of all values
        of all latents, has a logarithmic count. Of a sparse code the titles say how often a latent fires, how many
        values are zero, and how many within 0.001 of it.

    Raises:
        ValueError: If codes have another shape, are empty or not finite, or a latent does not exist.
    """
    codes = finite_array("codes", z, 2, "(n, latent)")
    n, latent_dim = codes.shape
    size = np.abs(codes).mean(axis=0)
    strongest = np.argsort(-size, kind="stable")[: min(most, max(int((size > 0).sum()), 1)) if sparse else most]
    chosen = [int(i) for i in (strongest if latents is None else latents)]
    if not chosen:
        raise ValueError("there are no latents to draw")
    if not all(0 <= i < latent_dim for i in chosen):
        raise ValueError(f"latents are numbered from 0 to {latent_dim - 1}, but {chosen} were asked for")
    fired = [codes[codes[:, i] != 0, i] if sparse else codes[:, i] for i in chosen]
    together = np.concatenate(fired)
    low, high = (together.min(), together.max()) if together.size else (0.0, 0.0)
    low = min(0.0, low) if sparse else low
    edges = np.linspace(low, high if high > low else low + 1, 41)
    columns = math.ceil(math.sqrt(len(chosen)))
    rows = math.ceil(len(chosen) / columns)
    width = max(1.4 * columns, 3.6)
    figure = Figure(figsize=(width + 5.0, max(1.1 * rows + 0.5, 3.4)), layout="constrained")
    small, large = figure.subfigures(1, 2, squeeze=False, width_ratios=[width, 5.0])[0]
    axes = small.subplots(rows, columns, sharex=True, squeeze=False).ravel()
    for ax, i, values in zip(axes, chosen, fired, strict=False):
        ax.stairs(np.histogram(values, edges)[0], edges, fill=True, color=_BLUE)
        ax.set(xlim=(edges[0], edges[-1]), yticks=[])
        ax.set_title(f"#{i}" + (f"  {_percent(len(values) / n)} active" if sparse else ""), fontsize=8)
        ax.tick_params(labelsize=7)
        ax.xaxis.set_major_locator(MaxNLocator(3))
        ax.spines[["top", "right", "left"]].set_visible(False)
    for ax in axes[len(chosen) :]:
        ax.set_axis_off()
    for ax in axes[max(len(chosen) - columns, 0) : len(chosen)]:
        ax.tick_params(labelbottom=True)  # also above a place that is left empty
    small.supxlabel("value where it is not zero" if sparse else "value", fontsize=9)
    _draw_all_values(large.subplots(), codes, sparse)
    return figure


def mean_activations(mean: Any, density: Any = None, target: float | None = None) -> Figure:
    """Draw the mean activation of each latent, largest first, and the distribution of how often latents fire.

    Args:
        mean: Mean activation of each latent over samples, (latent,).
        density: Fraction of samples on which each latent fires, (latent,); None leaves that panel out.
        target: The mean activation that a penalty draws to; the figure says how many latents are within a factor of
            two of it.

    Returns:
        The figure. Means are on a logarithmic scale where none is negative and the positive ones span more than a
        decade; means of zero then have no place on it, and the title says how many there are.

    Raises:
        ValueError: If shapes differ or are other ones, values are not finite, a fraction is not within [0, 1], or the
            target is not positive.
    """
    means = np.sort(finite_array("means", mean, 1, "(latent,)"))[::-1]
    densities = None if density is None else fractions("densities", density, 1, "(latent,)")
    if densities is not None and len(means) != len(densities):
        raise ValueError(f"there are means of {len(means)} latents, but densities of {len(densities)}")
    if target is not None and not 0 < target < math.inf:
        raise ValueError(f"the target must be positive, but it is {target}")
    panels = 1 if densities is None else 2
    figure = Figure(figsize=(5.2 * panels, 3.8), layout="constrained")
    axes = figure.subplots(1, panels, squeeze=False)[0]
    _draw_means(axes[0], means, target)
    if densities is not None:
        _draw_densities(axes[1], densities)
    for ax in axes:
        ax.spines[["top", "right"]].set_visible(False)
    return figure


def _grid(panels: int, columns: int, size: tuple[float, float], *, sharey: bool = True) -> tuple[Figure, Array]:
    """A figure of so many panels of that size in inches, in rows, and a room around them for what they share."""
    rows = math.ceil(panels / columns)
    columns = math.ceil(panels / rows)
    figure = Figure(figsize=(columns * size[0] + 0.4, rows * size[1] + 0.6), layout="constrained")
    axes = figure.subplots(rows, columns, sharex=True, sharey=sharey, squeeze=False).ravel()
    for ax in axes[panels:]:
        ax.remove()
    for ax in axes[max(panels - columns, 0) : panels]:
        ax.tick_params(labelbottom=True)  # the lowest of its column, also above a place that is left empty
    for ax in axes[:panels]:
        ax.spines[["top", "right"]].set_visible(False)
        ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    return figure, axes[:panels]


def _draw_latents(ax: Axes, steps: Array, densities: Array) -> None:
    """A line for each latent, in a color of its own."""
    for values, color in zip(densities.T, CLASS_COLORS, strict=False):
        marker = "o" if len(steps) == 1 else ""
        # Clipped, a line at 0 would lose half of its width; the layout would measure each of those that are not.
        ax.plot(steps, values, marker=marker, clip_on=False, in_layout=False, zorder=2, color=color)


def _draw_all_values(ax: Axes, codes: Array, sparse: bool) -> None:
    edges = np.histogram_bin_edges(codes, 80)
    ax.stairs(np.histogram(codes, edges)[0], edges, fill=True, color=_BLUE)
    ax.set_yscale("log")
    ax.set_ylim(bottom=0.5)
    ax.set(xlabel="value", ylabel="values per bin")
    latents = "1 latent" if codes.shape[1] == 1 else f"{codes.shape[1]} latents"
    zero, near = _percent((codes == 0).mean(), 1), _percent((np.abs(codes) <= _NEAR_ZERO).mean(), 1)
    counted = f":\n{zero} exactly zero, {near} within {_NEAR_ZERO:g} of zero" if sparse else ""
    ax.set_title(f"All values of {latents}{counted}", fontsize=10)
    ax.spines[["top", "right"]].set_visible(False)


def _percent(fraction: float, digits: int = 0) -> str:
    """Percents, and neither 0 nor 100 where there is a rest."""
    percent, least = 100 * fraction, 10.0**-digits
    if percent in (0, 100):
        return f"{percent:g} %"
    if 0 < percent < least:
        return f"<{least:g} %"
    return f">{100 - least:g} %" if 100 - least < percent < 100 else f"{percent:.{digits}f} %"


def _draw_means(ax: Axes, means: Array, target: float | None) -> None:
    n = len(means)
    positive = means[means > 0]
    zeros = int((means == 0).sum())
    title = f"Mean activation of {n} latents"
    ranks = np.arange(1, n + 1)
    if means[-1] >= 0 and positive.size and log_if_spanning(ax, positive):
        ranks, title = ranks[: positive.size], title + (f", {zeros} of them zero" if zeros else "")
        means = positive
    ax.plot(ranks, means, color=_BLUE, marker="o" if n <= 50 else "", markersize=4)
    if target is not None:
        near = int(((means >= target / 2) & (means <= 2 * target)).sum())
        ax.axhspan(target / 2, 2 * target, color=_VERMILION, alpha=0.12, linewidth=0)
        label = f"target {target:g}: {near} of {n} latents\nwithin a factor of 2"
        ax.axhline(target, color=_VERMILION, linestyle="--", label=label)
        ax.legend(frameon=False, fontsize=9)
    ax.set(xlabel="latents, the largest mean first", ylabel="mean activation", xlim=(0, n + 1))
    ax.set_title(title, fontsize=10)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def _draw_densities(ax: Axes, densities: Array) -> None:
    """Latents by the logarithm of how often they fire, and left of them those that never do."""
    # Rounded, or a thousandth in float32 would lie in the bin below 10⁻³.
    logarithms = np.log10(densities[densities > 0], dtype=np.float64).round(6)
    never = len(densities) - len(logarithms)
    low = min(math.floor(logarithms.min(initial=0)), -1)
    edges = np.linspace(low, 0, -low * _BINS_PER_DECADE + 1)
    ax.bar(edges[:-1], np.histogram(logarithms, edges)[0], np.diff(edges), align="edge", color=_BLUE)
    width = -low / 12
    place = low - 2 * width
    ax.bar_label(ax.bar([place], [never], width, color=_VERMILION), padding=2, color=_VERMILION)
    decades = range(0, low - 1, -math.ceil(-low / 6))
    labels = [f"{10.0**decade:g}" for decade in decades]
    ax.set_xticks([place, *decades], labels=["never", *labels])
    ax.set(xlabel="fraction of samples on which a latent fires", ylabel="latents")
    ax.set_title(f"Firing density: {never} of {len(densities)} latents never fire", fontsize=10)
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
