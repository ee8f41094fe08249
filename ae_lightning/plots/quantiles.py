"""The distribution of a number over latents, or over true features, in the course of training."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from ae_lightning.plots.tiles import Array

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Which quantiles over latents bands and lines end at."""

_COLOR = "#0072B2"
_OUTER, _INNER = 0.18, 0.4


def draw_quantile_bands(ax: Axes, steps: Array, values: Array) -> None:
    """Draw the median over latents as a line, and the middle half and the middle 90 % of latents as bands.

    Args:
        ax: Where to draw.
        steps: Optimizer steps, (k,).
        values: A number for each latent at each of them, (k, latent).
    """
    lowest, low, median, high, highest = np.quantile(values, QUANTILES, axis=1)
    ax.fill_between(steps, lowest, highest, color=_COLOR, alpha=_OUTER, linewidth=0)
    ax.fill_between(steps, low, high, color=_COLOR, alpha=_INNER, linewidth=0)
    ax.plot(steps, median, color=_COLOR, linewidth=1.8, marker="o" if len(steps) == 1 else "", clip_on=False)


def quantile_handles(of: str = "latent") -> list[Line2D | Patch]:
    """What a legend says of the line and the bands, and of what they are."""
    return [
        Line2D([], [], color=_COLOR, linewidth=1.8, label=f"median {of}"),
        Patch(color=_COLOR, alpha=_INNER + _OUTER, label="middle half (25 to 75 %)"),
        Patch(color=_COLOR, alpha=_OUTER, label="middle 90 % (5 to 95 %)"),
    ]
