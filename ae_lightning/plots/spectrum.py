"""Spectra of weight matrices: their singular values, and their effective rank in the course of training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ae_lightning.analysis.spectrum import rank_of_spectrum
from ae_lightning.plots.checks import finite_array
from ae_lightning.plots.figure import Figure
from ae_lightning.plots.scales import log_if_spanning
from ae_lightning.plots.tiles import Array, to_numpy

# Okabe and Ito's colors, which color-blind readers can tell apart.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_NOISE = 1e-7


def spectrum(
    singular_values: Mapping[str, Any], title: str | None = None, *, initial: Mapping[str, Any] | None = None
) -> Figure:
    """Draw the singular values of matrices, largest first, the effective rank of each in the legend.

    Args:
        singular_values: Per name of a matrix, such as "encoder", its singular values, (k,).
        title: Title of the figure.
        initial: Those at initialization, under the same names; dashed, in the color of their matrix.

    Returns:
        The figure. Its scale is logarithmic where values span more than a decade, and ends where they are numerical
        noise, at 1e-7 of the largest.

    Raises:
        ValueError: If there is nothing to draw, a shape is another one, a value is negative or not finite, or a
            name at initialization is none of the others.
    """
    given = {name: _checked(name, values) for name, values in singular_values.items()}
    before = {name: _checked(f"{name} at initialization", values) for name, values in (initial or {}).items()}
    if not given:
        raise ValueError("there are no singular values to draw")
    if unknown := set(before) - set(given):
        raise ValueError(f"there are singular values at initialization of {sorted(unknown)}, but of {list(given)} else")
    figure = Figure(figsize=(6.8, 4.6), layout="constrained")
    ax = figure.subplots()
    for place, (name, values) in enumerate(given.items()):
        style: dict[str, Any] = {"color": _COLORS[place % len(_COLORS)]}
        if name in before:
            _draw(ax, before[name], f"{name} at initialization", linestyle="--", linewidth=1.2, **style)
        _draw(ax, values, name, linewidth=2, **style)
    everything = np.concatenate([*given.values(), *before.values()])
    high = float(everything.max())
    if high > 0 and log_if_spanning(ax, everything[everything > _NOISE * high]):
        ax.set_ylim(0.8 * everything[everything > _NOISE * high].min(), 1.25 * high)
    else:
        ax.set_ylim(bottom=0)
    longest = max(len(values) for values in (*given.values(), *before.values()))
    ax.set_xlim(-0.01 * longest, 1.01 * longest + 1)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="index", ylabel="singular value")
    ax.legend(frameon=False, fontsize=9)
    _tidy(ax, title)
    return figure


def effective_rank_history(steps: Any, ranks: Mapping[str, Any], maximum: int | None = None) -> Figure:
    """Draw the effective rank of matrices over optimizer steps.

    Args:
        steps: Optimizer steps, (n,).
        ranks: Per name of a matrix its effective rank at each of them, (n,); what is not finite is left out.
        maximum: The largest rank that they can have, as a dashed line; None leaves it out.

    Returns:
        The figure.

    Raises:
        ValueError: If there is nothing to draw, or a shape is another one.
    """
    at = finite_array("steps", steps, 1, "(n,)")
    if not ranks:
        raise ValueError("there are no ranks to draw")
    figure = Figure(figsize=(6.8, 4.2), layout="constrained")
    ax = figure.subplots()
    for place, (name, values) in enumerate(ranks.items()):
        rank = to_numpy(values)
        if rank.shape != at.shape:
            raise ValueError(f"there are {len(at)} steps, but ranks of {name} have the shape {rank.shape}")
        finite = np.isfinite(rank)
        marker: dict[str, Any] = {"marker": "o", "markersize": 4} if len(at) <= 30 else {}
        ax.plot(at[finite], rank[finite], color=_COLORS[place % len(_COLORS)], label=name, **marker)
    if maximum is not None:
        ax.axhline(maximum, color="black", linestyle="--", linewidth=1.2, label=f"full rank {maximum}")
    ax.set(xlabel="optimizer step", ylabel="effective rank")
    ax.legend(frameon=False, fontsize=9)
    _tidy(ax, None)
    return figure


def _checked(name: str, values: Any) -> Array:
    checked = finite_array(f"singular values of {name}", values, 1, "(k,)")
    if checked.min() < 0:
        raise ValueError(f"singular values of {name} must not be negative, but the smallest is {checked.min():g}")
    return -np.sort(-checked)


def _draw(ax: Axes, values: Array, name: str, **style: Any) -> None:
    positive = values[values > 0]
    label = f"{name}, effective rank {float(rank_of_spectrum(torch.from_numpy(values))):.1f} of {len(values)}"
    ax.plot(np.arange(1, len(positive) + 1), positive, label=label, **style)


def _tidy(ax: Axes, title: str | None) -> None:
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(alpha=0.25)
    if title:
        ax.set_title(title, fontsize=11)
