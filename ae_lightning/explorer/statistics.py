"""What the units of a network do on a set of samples."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ae_lightning.analysis.importance import unit_importance
from ae_lightning.explorer.histograms import Histograms
from ae_lightning.explorer.network import Network

Array = np.ndarray[Any, Any]
Batches = Callable[[], Iterable[tuple[Tensor, Tensor]]]
"""Gives the same batches, x (batch, input) and y, each time that it is called."""

TOP = 16
NONE = 65535
"""Stands in place of the number of a sample where there is none."""


@dataclass(frozen=True)
class UnitStatistics:
    """Numbers on each unit of a hidden layer, over samples.

    Args:
        mean: Mean activation, float64 (units,).
        magnitude: Mean of its absolute value, float64 (units,).
        density: Fraction of samples on which it is not zero, float64 (units,).
        low: Smallest activation that is not zero, 0 where all are, float32 (units,).
        high: The largest, float32 (units,).
        histogram: How many activations that are not zero lie in each of 24 equal bins from low to high; the last bin
            holds its upper end, and the first one all where low equals high. int64 (units, 24).
        class_mean: Mean activation on the samples of each class, 0 where it has none, float64 (units, classes); None
            without classes.
    """

    mean: Array
    magnitude: Array
    density: Array
    low: Array
    high: Array
    histogram: Array
    class_mean: Array | None


def unit_statistics(network: Network, batches: Batches, classes: int | None) -> list[UnitStatistics]:
    """Statistics of the units of each hidden layer; goes through the samples twice, a batch at a time.

    Args:
        network: The network.
        batches: The samples and their class numbers.
        classes: How many classes there are; None where y is something else.
    """
    sums = [_Sums(layer.weight.shape[1], classes) for layer in network.hidden]
    for x, y in batches():
        for part, values in zip(sums, network.outputs(x), strict=False):
            part.add(values, y)
    histograms = [Histograms(part.low, part.high) for part in sums]
    for x, _ in batches():
        for histogram, values in zip(histograms, network.outputs(x), strict=False):
            sample, unit = values.nonzero(as_tuple=True)
            histogram.add(unit, values[sample, unit])
    return [part.result(histogram) for part, histogram in zip(sums, histograms, strict=True)]


def top_samples(activations: Tensor, rectified: bool) -> tuple[Array, Array]:
    """Which samples excite each unit most, and how much.

    Args:
        activations: (n, units), of at most 65,535 samples.
        rectified: Whether only activations above zero count.

    Returns:
        uint16 (units, 16), the largest first and of equal ones the earliest, `NONE` where there are fewer; and their
        activations, float32 (units, 16), 0 where there are fewer.
    """
    kept = min(TOP, len(activations))
    ranked = torch.argsort(activations.T, dim=1, descending=True, stable=True)[:, :kept]
    values = activations.T.gather(1, ranked).numpy()
    counts = values > 0 if rectified else np.full(values.shape, True)
    top = np.full((activations.shape[1], TOP), NONE, dtype=np.uint16)
    top_values = np.zeros((activations.shape[1], TOP), dtype=np.float32)
    top[:, :kept] = np.where(counts, ranked.numpy(), NONE)
    top_values[:, :kept] = np.where(counts, values, 0)
    return top, top_values


def importances(network: Network, magnitudes: Iterable[Any]) -> list[Tensor]:
    """Importance of the units of each hidden layer: ‖weights in‖ · mean|activation| · ‖weights out‖.

    Args:
        network: The network.
        magnitudes: Mean of |activation| for each hidden layer, (units,).
    """
    return [
        unit_importance(network.layers[number].weight.T, network.layers[number + 1].weight, torch.as_tensor(magnitude))
        for number, magnitude in enumerate(magnitudes)
    ]


class _Sums:
    """What can be added up in one pass."""

    def __init__(self, units: int, classes: int | None) -> None:
        self.count = 0
        self.total, self.absolute, self.active = (torch.zeros(units, dtype=torch.float64) for _ in range(3))
        self.low, self.high = torch.full((units,), torch.inf), torch.full((units,), -torch.inf)
        self.by_class = None if classes is None else torch.zeros(classes, units, dtype=torch.float64)
        self.class_counts = torch.zeros(classes or 0, dtype=torch.float64)

    def add(self, values: Tensor, y: Tensor) -> None:
        self.count += len(values)
        is_active = values != 0
        self.total += values.sum(dim=0, dtype=torch.float64)
        self.absolute += values.abs().sum(dim=0, dtype=torch.float64)
        self.active += is_active.sum(dim=0)
        self.low = torch.minimum(self.low, values.masked_fill(~is_active, torch.inf).amin(dim=0))
        self.high = torch.maximum(self.high, values.masked_fill(~is_active, -torch.inf).amax(dim=0))
        if self.by_class is not None:
            one_hot = torch.nn.functional.one_hot(y.long(), len(self.by_class)).double()
            self.by_class += one_hot.T @ values.double()
            self.class_counts += one_hot.sum(dim=0)

    def result(self, histogram: Histograms) -> UnitStatistics:
        of_class = None
        if self.by_class is not None:
            of_class = (self.by_class / self.class_counts.clamp(min=1)[:, None]).T.numpy()
        return UnitStatistics(
            mean=(self.total / self.count).numpy(),
            magnitude=(self.absolute / self.count).numpy(),
            density=(self.active / self.count).numpy(),
            low=histogram.low.numpy(),
            high=histogram.high.numpy(),
            histogram=histogram.counts.numpy(),
            class_mean=of_class,
        )
