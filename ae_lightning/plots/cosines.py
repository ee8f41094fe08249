"""Cosines between rows of weights, and between them and true directions."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ae_lightning.plots.checks import finite_array
from ae_lightning.plots.figure import Figure
from ae_lightning.plots.tiles import SIGNED_COLORMAP, Array

_BLUE, _VERMILION, _GRAY = "#0072B2", "#D55E00", "#8A8A8A"
_BINS = 40
# Bars that have a gap between them.
_MOST_BARS = 60
# Rows and columns that each have a name, and squares that each have a number.
_MOST_NAMES, _MOST_NUMBERS = 20, 12


def decoder_cosines(cosines: Any, names: Any, nearest: Any, random: Any) -> Figure:
    """Draw the cosines between decoder rows of some latents, and how near the nearest row is, of all.

    Args:
        cosines: Cosines between the rows that are shown, (k, k).
        names: Numbers of their latents, (k,).
        nearest: For each latent its largest cosine with another, (latent,).
        random: The same of random directions, as many and as long, (latent,).

    Returns:
        The figure: the matrix on the left, the histograms on the right.

    Raises:
        ValueError: If a shape does not fit, or a value is not finite.
    """
    matrix = finite_array("cosines", cosines, 2, "(k, k)")
    numbers = finite_array("names", names, 1, "(k,)").astype(int)
    if matrix.shape != (len(numbers), len(numbers)):
        raise ValueError(f"there are names of {len(numbers)} latents, but cosines of {matrix.shape}")
    ours = finite_array("nearest cosines", nearest, 1, "(latent,)")
    theirs = finite_array("random cosines", random, 1, "(latent,)")
    figure = Figure(figsize=(10.5, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[4.6, 5.4])
    _draw_matrix(left, matrix, numbers, numbers)
    left.set_title("cosines of decoder rows" + (f", {len(numbers)} of {len(ours)}" if len(numbers) < len(ours) else ""))
    left.set(xlabel="latent", ylabel="latent")
    edges = np.linspace(min(ours.min(), theirs.min(), 0), 1, _BINS + 1)
    right.stairs(np.histogram(theirs, edges)[0], edges, color=_GRAY, linewidth=1.5, label="random directions")
    right.hist(ours.clip(max=1), edges, color=_BLUE, alpha=0.7, label="decoder rows")
    right.set(xlabel="largest cosine with another row", ylabel="latents", xlim=(edges[0], 1))
    close = int((ours > 0.9).sum())
    right.set_title(f"Nearest latents: {close} of {len(ours)} have one at a cosine above 0.9", fontsize=10)
    right.yaxis.set_major_locator(MaxNLocator(integer=True))
    right.legend(frameon=False, fontsize=9)
    right.spines[["top", "right"]].set_visible(False)
    left.title.set_fontsize(10)
    return figure


def recovery_figure(cosines: Any, latents: Any, best: Any, threshold: float, title: str | None = None) -> Figure:
    """Draw how well latents recover true features.

    Args:
        cosines: Cosines of features with the latents matched to them one to one, (features, matched).
        latents: Numbers of these latents, in the order of the features that they are matched with, (matched,).
        best: The largest cosine of each feature with any latent, (instances, features).
        threshold: Above it a feature is recovered.
        title: What to write above the matrix.

    Returns:
        The figure: the matrix on the left; on the right the best cosines, of one instance as bars, of several as rows.

    Raises:
        ValueError: If a shape does not fit, or a value is not finite.
    """
    matrix = finite_array("cosines", cosines, 2, "(features, matched)")
    numbers = finite_array("latents", latents, 1, "(matched,)").astype(int)
    reached = finite_array("best cosines", best, 2, "(instances, features)")
    if matrix.shape[1] != len(numbers):
        raise ValueError(f"there are {len(numbers)} latents, but cosines with {matrix.shape[1]}")
    figure = Figure(figsize=(10.5, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    _draw_matrix(left, matrix, np.arange(len(matrix)), numbers)
    left.set(xlabel="latent, matched one to one", ylabel="true feature")
    left.set_title(title or "cosines of true features and latents", fontsize=10)
    recovered = reached > threshold
    if len(reached) == 1:
        _draw_bars(right, reached[0], threshold)
        right.set_title(f"{int(recovered.sum())} of {recovered.size} features are recovered", fontsize=10)
    else:
        instances, features = reached.shape
        _draw_matrix(right, reached, np.arange(instances), np.arange(features))
        right.set(xlabel="true feature", ylabel="instance")
        whole = int(recovered.all(axis=1).sum())
        right.set_title(f"best cosine: {whole} of {instances} instances recover all features", fontsize=10)
    return figure


def interference_figure(cosines: Any, lengths: Any) -> Figure:
    """Draw how much features share dimensions.

    Args:
        cosines: Cosines between the directions of features, (features, features).
        lengths: Lengths of the directions, (features,).

    Returns:
        The figure: the matrix on the left, a bar for each length on the right.

    Raises:
        ValueError: If a shape does not fit, or a value is not finite.
    """
    matrix = finite_array("cosines", cosines, 2, "(features, features)")
    norms = finite_array("lengths", lengths, 1, "(features,)")
    if matrix.shape != (len(norms), len(norms)):
        raise ValueError(f"there are lengths of {len(norms)} features, but cosines of {matrix.shape}")
    figure = Figure(figsize=(10.5, 4.0), layout="constrained")
    left, right = figure.subplots(1, 2)
    numbers = np.arange(len(norms))
    _draw_matrix(left, matrix, numbers, numbers)
    left.set(xlabel="feature", ylabel="feature")
    left.set_title("cosines of feature directions", fontsize=10)
    right.bar(numbers, norms, 1.0 if len(norms) > _MOST_BARS else 0.8, color=_BLUE)
    right.set(xlabel="feature", ylabel="length of its direction")
    right.xaxis.set_major_locator(MaxNLocator(integer=True))
    right.spines[["top", "right"]].set_visible(False)
    return figure


def _draw_matrix(ax: Axes, matrix: Array, rows: Array, columns: Array) -> None:
    """Draw cosines as colored squares, with names and numbers where there is room for them, and the color scale."""
    image = ax.imshow(matrix, vmin=-1, vmax=1, cmap=SIGNED_COLORMAP, interpolation="nearest", aspect="auto")
    if len(rows) <= _MOST_NAMES:
        ax.set_yticks(range(len(rows)), labels=[str(name) for name in rows], fontsize=8)
    if len(columns) <= _MOST_NAMES:
        ax.set_xticks(range(len(columns)), labels=[str(name) for name in columns], fontsize=8)
    if len(rows) > _MOST_NAMES and len(columns) > _MOST_NAMES:
        ax.set(xticks=[], yticks=[])
    if max(matrix.shape) <= _MOST_NUMBERS:
        for (row, column), value in np.ndenumerate(matrix):
            color = "white" if abs(value) > 0.6 else "black"
            text = f"{value:.2f}".replace("-", "−")
            ax.text(column, row, text, color=color, fontsize=7, ha="center", va="center")
    bar = ax.figure.colorbar(image, ax=ax, label="cosine", shrink=0.85)
    bar.ax.tick_params(labelsize=8)


def _draw_bars(ax: Axes, best: Array, threshold: float) -> None:
    """Best cosines, the largest first; those above the threshold in a color of their own."""
    ordered = -np.sort(-best)
    places = np.arange(1, len(ordered) + 1)
    ax.bar(
        places, ordered, 1.0 if len(ordered) > _MOST_BARS else 0.8, color=np.where(ordered > threshold, _BLUE, _GRAY)
    )
    ax.axhline(threshold, color=_VERMILION, linestyle="--", linewidth=1.2, label=f"recovered: above {threshold:g}")
    ax.set(xlabel="true features, the best recovered first", ylabel="largest cosine with a latent", ylim=(None, 1.02))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.legend(frameon=False, fontsize=9, loc="lower left")
    ax.spines[["top", "right"]].set_visible(False)
