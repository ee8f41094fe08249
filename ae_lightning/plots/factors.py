"""What latents tell of known factors, as a figure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ae_lightning.plots.checks import fractions
from ae_lightning.plots.figure import Figure

_COLORMAP = "viridis"
# Columns that have room for a number in each square, and for a name below each.
_MOST_NUMBERS, _MOST_NAMES = 16, 40


def factor_matrix(shares: Any, latents: Sequence[int], factors: Sequence[str], title: str) -> Figure:
    """Draw how much each latent tells of each factor.

    Args:
        shares: Mutual information in parts of the factor's entropy, within 0 and 1, (latents, factors).
        latents: Numbers of the latents.
        factors: Names of the factors.
        title: Title of the figure.

    Returns:
        The figure: a row for each factor, a column for each latent.

    Raises:
        ValueError: If a shape does not fit, or a value is not within 0 and 1.
    """
    matrix = fractions("shares", shares, 2, "(latents, factors)").T
    if matrix.shape != (len(factors), len(latents)):
        raise ValueError(f"there are {len(latents)} latents and {len(factors)} factors, but shares of {matrix.T.shape}")
    figure = Figure(figsize=(max(5.0, min(10.5, 2.6 + 0.55 * len(latents))), 1.5 + 0.42 * len(factors)))
    figure.set_layout_engine("constrained")
    ax = figure.subplots()
    image = ax.imshow(matrix, vmin=0, vmax=1, cmap=_COLORMAP, interpolation="nearest", aspect="auto")
    ax.set_yticks(range(len(factors)), labels=list(factors))
    if len(latents) <= _MOST_NAMES:
        ax.set_xticks(range(len(latents)), labels=[str(latent) for latent in latents], fontsize=8)
    else:
        ax.set_xticks([])
    if len(latents) <= _MOST_NUMBERS:
        for (row, column), value in np.ndenumerate(matrix):
            color = "black" if value > 0.6 else "white"
            ax.text(column, row, f"{value:.2f}", color=color, fontsize=8, ha="center", va="center")
    ax.set_xlabel("latent")
    ax.set_title(title, fontsize=10)
    bar = figure.colorbar(image, ax=ax, label="part of the factor told")
    bar.ax.tick_params(labelsize=8)
    return figure
