"""A training run at a glance: its losses, and what a linear probe reads off its code."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FormatStrFormatter, LogLocator

from ae_lightning.plots.figure import Figure
from ae_lightning.plots.tiles import Array

Curve = tuple[Any, Any, Any]

# Okabe and Ito's colors, which color-blind readers can tell apart.
_TRAIN, _VAL = "#0072B2", "#D55E00"
_PROBES = ("#009E73", "#CC79A7", "#0072B2", "#D55E00")
_REFERENCES = {"raw": ("#000000", "--"), "pca": ("#56B4E9", "-."), "untrained": ("#E69F00", ":")}


def training_summary(
    steps: Any, train_loss: Any, val_steps: Any, val_loss: Any, probes: Mapping[str, Curve] | None = None
) -> Figure:
    """Draw the losses on the left and the probe accuracies on the right.

    Args:
        steps: Optimizer steps at which the training loss was logged, shape (n,).
        train_loss: The training loss there, shape (n,).
        val_steps: Optimizer steps at which the validation loss was logged, shape (m,).
        val_loss: The validation loss there, shape (m,).
        probes: Per name ``(steps, accuracy, standard_error)``, each of shape (k,). ``raw``, ``pca`` and
            ``untrained`` do not change in training and are drawn as a line with a band of one standard error,
            at their last value; others are curves with error bars. Without probes the right side is left out.

    Returns:
        The figure. The loss is on a logarithmic scale where every loss is positive.
    """
    probes = probes or {}
    sides = 2 if probes else 1
    figure = Figure(figsize=(5.2 * sides, 4.2), layout="constrained")
    axes = figure.subplots(1, sides, squeeze=False)[0]
    _draw_losses(axes[0], _floats(steps), _floats(train_loss), _floats(val_steps), _floats(val_loss))
    if probes:
        _draw_probes(axes[1], probes)
    for ax in axes:
        ax.set_xlabel("optimizer step")
        ax.grid(alpha=0.25)
        ax.spines[["top", "right"]].set_visible(False)
    return figure


def _floats(values: Any) -> Array:
    return np.asarray(values, dtype=np.float64).reshape(-1)


def _draw_losses(ax: Axes, steps: Array, train: Array, val_steps: Array, val: Array) -> None:
    if train.size:
        ax.plot(steps, train, color=_TRAIN, linewidth=1, label="training")
    if val.size:
        ax.plot(val_steps, val, color=_VAL, marker="o", markersize=4, label="validation")
    losses = np.concatenate([train, val])
    losses = losses[np.isfinite(losses)]
    if losses.size and (losses > 0).all():
        ax.set_yscale("log")
        # Losses seldom span a decade or two, where powers of ten would label next to nothing.
        ax.yaxis.set_minor_locator(LogLocator(subs=(2, 5)))
        for set_formatter in (ax.yaxis.set_major_formatter, ax.yaxis.set_minor_formatter):
            set_formatter(FormatStrFormatter("%g"))
    ax.set_ylabel("loss")
    ax.set_title("Loss", fontsize=11)
    if train.size or val.size:
        ax.legend(frameon=False)


def _draw_probes(ax: Axes, probes: Mapping[str, Curve]) -> None:
    curves = 0
    for name, (steps, accuracy, error) in probes.items():
        at, value, noise = _floats(steps), _floats(accuracy), _floats(error)
        if not value.size:
            continue
        if name in _REFERENCES:
            color, style = _REFERENCES[name]
            ax.axhline(value[-1], color=color, linestyle=style, label=f"{name} {value[-1]:.3f}")
            ax.axhspan(value[-1] - noise[-1], value[-1] + noise[-1], color=color, alpha=0.12, linewidth=0)
        else:
            color = _PROBES[curves % len(_PROBES)]
            curves += 1
            ax.errorbar(
                at,
                value,
                noise,
                color=color,
                marker="o",
                markersize=4,
                capsize=2,
                label=f"{name} {value[-1]:.3f}",
            )
    ax.set_ylabel("accuracy on test samples")
    ax.set_title("Linear probe (± 1 standard error)", fontsize=11)
    if ax.get_legend_handles_labels()[0]:
        # Bands and error bars leave no free corner.
        ax.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=2)
