"""Vectors and their reconstructions, entry by entry: what stands where samples are no pictures."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.ticker import MaxNLocator

from ae_lightning.plots.checks import finite_array
from ae_lightning.plots.figure import Figure
from ae_lightning.plots.tiles import Array

_INPUT, _OUTPUT = "#9AA5B1", "#D55E00"
_BINS = 80
_PROFILES = 3
_MOST_ENTRIES = 64


def vector_reconstructions(x: Any, x_hat: Any) -> Figure:
    """Draw what the reconstruction of each entry is, given the entry, and the profiles of the first samples.

    Args:
        x: Vectors, (n, input).
        x_hat: Their reconstructions, (n, input).

    Returns:
        The figure: on the left the counts of entries by value and reconstructed value, on whose diagonal they would be
        exact; on the right the first 3 vectors that are not zero as bars and their reconstructions as lines, of long
        vectors the first 64 entries.

    Raises:
        ValueError: If the shapes differ or are other ones, there are no samples, or a value is not finite.
    """
    inputs = finite_array("inputs", x, 2, "(n, input)")
    outputs = finite_array("reconstructions", x_hat, 2, "(n, input)")
    if inputs.shape != outputs.shape:
        raise ValueError(f"inputs have the shape {inputs.shape}, but reconstructions {outputs.shape}")
    figure = Figure(figsize=(10.5, 4.0), layout="constrained")
    left, right = figure.subfigures(1, 2, squeeze=False, width_ratios=[4.2, 6.3])[0]
    _draw_entries(left.subplots(), inputs, outputs)
    places = np.flatnonzero((inputs != 0).any(axis=1))[:_PROFILES]
    places = places if len(places) else np.arange(1)
    for ax, place in zip(right.subplots(len(places), 1, squeeze=False, sharex=True)[:, 0], places, strict=True):
        _draw_profile(ax, place, inputs[place], outputs[place])
    ax.set_xlabel("entry" if inputs.shape[1] <= _MOST_ENTRIES else f"entry, the first {_MOST_ENTRIES}", fontsize=9)
    right.legend(*ax.get_legend_handles_labels(), loc="outside upper right", ncols=2, frameon=False, fontsize=8)
    return figure


def _draw_entries(ax: Axes, inputs: Array, outputs: Array) -> None:
    low, high = min(inputs.min(), outputs.min()), max(inputs.max(), outputs.max())
    edges = np.linspace(low, high if high > low else low + 1, _BINS + 1)
    counts = np.histogram2d(inputs.ravel(), outputs.ravel(), (edges, edges))[0]
    mesh = ax.pcolormesh(
        edges, edges, np.where(counts > 0, counts, np.nan).T, norm=LogNorm(1, max(2, counts.max())), cmap="viridis_r"
    )
    mesh.set_rasterized(True)
    ax.plot(edges[[0, -1]], edges[[0, -1]], color="black", linewidth=0.8, linestyle=":")
    ax.set(xlabel="entry", ylabel="its reconstruction", aspect="equal")
    ax.set_title(f"all entries of {len(inputs):,} test samples", fontsize=10)
    ax.figure.colorbar(mesh, ax=ax, label="entries per bin", shrink=0.8)


def _draw_profile(ax: Axes, number: int, inputs: Array, outputs: Array) -> None:
    shown = slice(_MOST_ENTRIES)
    places = np.arange(len(inputs))[shown]
    ax.bar(places, inputs[shown], color=_INPUT, label="input")
    marks: dict[str, Any] = {"marker": "o", "markersize": 3.5} if len(places) <= _MOST_ENTRIES // 2 else {}
    ax.plot(places, outputs[shown], color=_OUTPUT, linewidth=1.2, label="reconstruction", **marks)
    ax.axhline(0, color="black", linewidth=0.6)
    error = float(np.square(outputs - inputs, dtype=np.float64).mean())
    ax.set_title(f"#{number}: squared error per entry {error:.3g}", fontsize=8, loc="left", pad=2)
    ax.spines[["top", "right"]].set_visible(False)
    ax.xaxis.set_major_locator(MaxNLocator(8, integer=True))
    ax.tick_params(labelsize=7)
