"""The loss in the course of a run, term by term."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

Series = dict[str, tuple[np.ndarray, np.ndarray]]
"""Steps and values, (n,) each, by name."""


def loss_history(metrics: Mapping[str, np.ndarray]) -> Series:
    """The terms of the loss, and the loss itself where it has several.

    Args:
        metrics: The table of a run, `Run.metrics`.

    Returns:
        `train/<term>` and `val/<term>`, as far as they were logged. The training's are values of single batches, or the
        epochs' means where there are more of these.
    """
    logged = {name: series for name in metrics if (series := _series(metrics, name))[0].size}
    history: Series = {}
    for name in logged:
        part, _, term = name.partition("/")
        if part == "val":
            history[name] = logged[name]
        elif part == "train" and term.endswith("_epoch"):
            short = name.removesuffix("_epoch")
            several = (logged[key] for key in (short, name) if key in logged)
            history[short] = max(several, key=lambda series: len(series[0]))
    for name in logged:  # a fit that has not ended its first epoch
        if name.startswith("train/") and not name.endswith("_epoch"):
            history.setdefault(name, logged[name])
    if len(_terms(history)) < 2:
        history = {name: series for name, series in history.items() if name.partition("/")[2] != "loss"}
    return dict(sorted(history.items(), key=lambda item: _rank(item[0])))


def loss_formula(weights: Mapping[str, float | Tensor], history: Iterable[str]) -> str | None:
    """How the loss is made of its terms, such as `loss = reconstruction + 0.2 × l1`; None where there is only one.

    Of a weight that differs among instances it is the mean.
    """
    terms = _terms(history)
    if len(terms) < 2:
        return None
    numbers = {name: float(torch.as_tensor(weight).mean()) for name, weight in weights.items()}
    return "loss = " + " + ".join(name if (w := numbers.get(name, 1.0)) == 1 else f"{w:g} × {name}" for name in terms)


def _series(metrics: Mapping[str, np.ndarray], name: str) -> tuple[np.ndarray, np.ndarray]:
    there = ~np.isnan(metrics[name])
    return metrics["step"][there], metrics[name][there]


def _terms(names: Iterable[str]) -> list[str]:
    """The terms but the loss itself, each once, the reconstruction first."""
    found = {name.partition("/")[2] for name in names} - {"loss"}
    return sorted(found, key=lambda term: (term != "reconstruction", term))


def _rank(name: str) -> tuple[bool, bool, str]:
    """Sorts the loss first, and then the reconstruction."""
    term = name.partition("/")[2]
    return term != "loss", term != "reconstruction", name
