"""Means over an epoch, gathered on the device without waiting for it."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ae_lightning.nn.precision import at_least_float32


class EpochMeans:
    """Weighted means of several named scalars over the batches of an epoch.

    Lightning's own `self.log(on_epoch=True)` does the same at some 0.3 ms a call, which is more than a whole step
    of a small model; this costs one small kernel a step and never synchronizes. A scalar may come late or be absent:
    its mean is over the batches that had it.
    """

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything added so far."""
        self._names: list[str] = []
        self._sums: Tensor | None = None
        self._weight = 0
        self._missed: dict[str, int] = {}  # weight of the batches that did not have a scalar

    def add(self, values: Mapping[str, Tensor], weight: int) -> None:
        """Add scalars that are means over `weight` samples."""
        stacked = at_least_float32(torch.stack([value.detach() for value in values.values()]))
        names = list(values)
        if self._sums is None or names != self._names:
            names, stacked = self._aligned(names, stacked, weight)
        self._sums = torch.zeros_like(stacked) if self._sums is None else self._sums
        self._sums.add_(stacked, alpha=weight)
        self._weight += weight

    def _aligned(self, names: list[str], values: Tensor, weight: int) -> tuple[list[str], Tensor]:
        """The values in the order of all names, zero for those that are absent; what is missed is noted."""
        new = [name for name in names if name not in self._names]
        if self._sums is not None and new:
            self._missed |= dict.fromkeys(new, self._weight)
            self._sums = torch.cat([self._sums, self._sums.new_zeros(len(new))])
        self._names += new
        for name in set(self._names) - set(names):
            self._missed[name] = self._missed.get(name, 0) + weight
        places = torch.tensor([self._names.index(name) for name in names], device=values.device)
        return self._names, values.new_zeros(len(self._names)).index_copy(0, places, values)

    @property
    def sums(self) -> dict[str, Tensor]:
        """Running weighted sums; one is no longer finite once any value added to it was not."""
        return {} if self._sums is None else dict(zip(self._names, self._sums, strict=True))

    def compute(self) -> dict[str, Tensor]:
        """Mean of each scalar over the samples added; empty if there were none."""
        return {name: value / (self._weight - self._missed.get(name, 0)) for name, value in self.sums.items()}

    def state_dict(self) -> dict[str, object]:
        """Everything needed to continue the mean in another process."""
        # `add` works in place, and would move a state that is kept in memory on with it.
        sums = None if self._sums is None else self._sums.clone()
        return {"names": list(self._names), "sums": sums, "weight": self._weight, "missed": dict(self._missed)}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Continue from `state_dict`; an empty mapping means a fresh start."""
        self._names = list(state.get("names", []))  # type: ignore[call-overload]
        self._sums = state.get("sums")  # type: ignore[assignment]
        self._weight = int(state.get("weight", 0))  # type: ignore[call-overload]
        self._missed = dict(state.get("missed", {}))  # type: ignore[call-overload]
