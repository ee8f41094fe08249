"""What the posterior of a variational autoencoder tells, latent by latent."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.patches import Patch
from matplotlib.ticker import MaxNLocator

from ae_lightning.plots.checks import finite_array
from ae_lightning.plots.figure import Figure
from ae_lightning.plots.tiles import to_numpy

_ACTIVE, _INACTIVE = "#0072B2", "#B8BFC7"


def divergence_bars(divergences: Any, is_active: Any) -> Figure:
    """Draw the KL divergence of each latent, the largest first, in another color where the latent is active.

    Args:
        divergences: Nats of each latent, (k,).
        is_active: Whether each is active, (k,).

    Returns:
        The figure.

    Raises:
        ValueError: If there is nothing to draw, or the two are of other lengths.
    """
    nats, active = finite_array("divergences", divergences, 1, "(k,)"), to_numpy(is_active).astype(bool)
    if active.shape != nats.shape:
        raise ValueError(f"there are {len(nats)} divergences, but {len(active)} answers whether a latent is active")
    order = np.argsort(-nats, kind="stable")
    figure = Figure(figsize=(6.8, 3.4), layout="constrained")
    ax = figure.subplots()
    ax.bar(np.arange(len(nats)), nats[order], width=0.85, color=np.where(active[order], _ACTIVE, _INACTIVE))
    kinds = [(_ACTIVE, f"active: {active.sum()}"), (_INACTIVE, f"inactive: {(~active).sum()}")]
    ax.legend(handles=[Patch(color=color, label=label) for color, label in kinds], frameon=False, fontsize=9)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.set(xlabel="latents, the largest first", ylabel="KL divergence in nats", ylim=(0, None))
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", alpha=0.25)
    return figure
