"""How latents of a crosscoder are shared out among its sources."""

from __future__ import annotations

from typing import Any

from matplotlib.ticker import MaxNLocator, PercentFormatter

from ae_lightning.plots.checks import finite_array
from ae_lightning.plots.figure import Figure

_BINS = 50
# Okabe and Ito's colors, which color-blind readers can tell apart.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#F0E442", "#000000")


def relative_norm_figure(relative: Any) -> Figure:
    """Draw the distribution over latents of how much of what each writes goes to each source.

    Of two sources, the part of the second: latents of the first alone lie at 0, those of the second alone at 1, shared
    ones in the middle. Of more, a line for each.

    Args:
        relative: Norms of what latents write to each source as parts of their sum, (latent, sources).

    Raises:
        ValueError: A shape does not fit, or a value is not finite.
    """
    parts = finite_array("relative norms", relative, 2, "(latent, sources)")
    sources = parts.shape[1]
    figure = Figure(figsize=(6.4, 3.8), layout="constrained")
    ax = figure.subplots()
    edges = [number / _BINS for number in range(_BINS + 1)]
    if sources == 2:
        ax.hist(parts[:, 1], bins=edges, color=_COLORS[0])
        ax.set(xlabel="relative decoder norm: 0 writes to source 0 alone, 1 to source 1 alone", ylabel="latents")
    else:
        for number in range(sources):
            color = _COLORS[number % len(_COLORS)]
            ax.hist(parts[:, number], bins=edges, histtype="step", color=color, label=f"source {number}")
        ax.set(xlabel="part of what a latent writes that goes to the source, by norm", ylabel="latents")
        ax.legend(fontsize=8, frameon=False)
    ax.axvline(1 / sources, color="gray", linestyle="--", linewidth=1)
    ax.set_xlim(0, 1)
    ax.xaxis.set_major_formatter(PercentFormatter(1.0))
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set_title(f"Decoder norms of {len(parts):,} latents by source", fontsize=10)
    ax.spines[["top", "right"]].set_visible(False)
    return figure
