"""Losses of a model as it is, with a layer reconstructed, and with it ablated; and what part is recovered."""

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ae_lightning.analysis.ratios import Ratio, ratio_of_sums
from ae_lightning.evaluation.splice.losses import Summed

ORIGINAL, SPLICED, MEAN, ZERO = "original", "spliced", "mean_ablated", "zero_ablated"
"""The four ways in which the model runs, as the results name them."""

_ABLATIONS = {"recovered_of_mean": MEAN, "recovered_of_zero": ZERO}
# Standard errors by which an ablation has to move a loss before a part of that movement means anything.
_LEAST_EFFECT = 2.0


class LossMeter:
    """Losses of whole sequences, as sums and counts, in each of the four ways.

    Every way must see the same sequences in the same order.
    """

    def __init__(self) -> None:
        self._sums: dict[str, dict[str, list[Tensor]]] = {}
        self._counts: dict[str, list[Tensor]] = {}

    def add(self, way: str, losses: Mapping[str, Summed]) -> None:
        """Add the losses of a batch, by name, in one of the ways."""
        for name, (sums, counts) in losses.items():
            self._sums.setdefault(name, {}).setdefault(way, []).append(sums)
            if way == ORIGINAL:
                self._counts.setdefault(name, []).append(counts)

    @property
    def samples(self) -> int:
        """Sequences that were added."""
        return sum(map(len, next(iter(self._counts.values()), [])))

    def compute(self) -> dict[str, dict[str, Any]]:
        """Answer the numbers of each loss by its name.

        Returns:
            `positions`: how many losses the means are over. `original`, `spliced`, `mean_ablated`, `zero_ablated`: the
            mean loss. `increase`: spliced − original. `recovered_of_mean` and `recovered_of_zero`: (ablated − spliced)
            / (ablated − original), which is 1 where the reconstruction costs nothing and 0 where it is worth no more
            than the ablation; NaN, with the reason beside it, where the ablation moves the loss by no more than two
            standard errors. `<name>_se`: the standard error of each by the ratio estimator, whose units are whole
            sequences, see `ratio_of_sums`; differences are taken within a sequence first.
        """
        return {name: self._of(name) for name in self._sums}

    def _of(self, name: str) -> dict[str, Any]:
        counts = torch.cat(self._counts[name])
        sums = {way: torch.cat(parts) for way, parts in self._sums[name].items()}
        found: dict[str, Any] = {"positions": int(counts.sum())}
        means = {way: ratio_of_sums(of, counts) for way, of in sums.items()}
        means["increase"] = ratio_of_sums(sums[SPLICED] - sums[ORIGINAL], counts)
        for key, ratio in means.items():
            found |= _told(key, ratio)
        for key, ablation in _ABLATIONS.items():
            effect = ratio_of_sums(sums[ablation] - sums[ORIGINAL], counts)
            if why := _too_small(effect, ablation):
                found |= {**_told(key, Ratio(math.nan, math.nan)), f"{key}_reason": why}
            else:
                recovered = sums[ablation] - sums[SPLICED], sums[ablation] - sums[ORIGINAL]
                found |= _told(key, ratio_of_sums(*recovered))
        return found


def mean_over(meters: Sequence[LossMeter]) -> LossMeter:
    """What several reconstructions cost on average, each measured on the same sequences."""
    mean = copy.copy(meters[0])
    mean._sums = {
        name: {**ways, SPLICED: _means([meter._sums[name][SPLICED] for meter in meters])}
        for name, ways in mean._sums.items()
    }
    return mean


def _means(batches: Sequence[Sequence[Tensor]]) -> list[Tensor]:
    """Means over reconstructions of what each has for every batch."""
    return [torch.stack(of).mean(0) for of in zip(*batches, strict=True)]


def _told(name: str, ratio: Ratio) -> dict[str, float]:
    return {name: ratio.value, f"{name}_se": ratio.error}


def _too_small(effect: Ratio, ablation: str) -> str:
    """Why no part of an ablation's effect can be told; empty where one can."""
    if not math.isfinite(effect.value):
        return "losses are not finite"
    if effect.value == 0 or abs(effect.value) <= _LEAST_EFFECT * effect.error:
        kind = ablation.removesuffix("_ablated")
        return f"{kind} ablation moves it by no more than {_LEAST_EFFECT:.0f} standard errors"
    return ""
