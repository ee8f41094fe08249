"""Means over an epoch, gathered on the device without waiting for it."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ae_lightning.nn.precision import at_least_float32


class EpochMeans:
    """Weighted means of several named scalars over the batches of an epoch.

    Lightning's own `self.log(on_epoch=True)` does the same at some 0.3 ms a call, which is more than a whole step
    of a small model; this costs one small kernel a step and never synchronizes.
    """

    def __init__(self) -> None:
        self._names: list[str] = []
        self._sums: Tensor | None = None
        self._weight = 0

    def reset(self) -> None:
        """Forget everything added so far."""
        self._names, self._sums, self._weight = [], None, 0

    def add(self, values: Mapping[str, Tensor], weight: int) -> None:
        """Add scalars that are means over `weight` samples; the names must be the same at every call."""
        stacked = at_least_float32(torch.stack([value.detach() for value in values.values()]))
        if self._sums is None:
            self._names = list(values)
            self._sums = torch.zeros_like(stacked)
        self._sums.add_(stacked, alpha=weight)
        self._weight += weight

    @property
    def sums(self) -> dict[str, Tensor]:
        """Running weighted sums; one is no longer finite once any value added to it was not."""
        return {} if self._sums is None else dict(zip(self._names, self._sums, strict=True))

    def compute(self) -> dict[str, Tensor]:
        """Mean of each scalar over the samples added; empty if there were none."""
        return {name: value / self._weight for name, value in self.sums.items()}

    def state_dict(self) -> dict[str, object]:
        """Everything needed to continue the mean in another process."""
        # `add` works in place, and would move a state that is kept in memory on with it.
        sums = None if self._sums is None else self._sums.clone()
        return {"names": list(self._names), "sums": sums, "weight": self._weight}

    def load_state_dict(self, state: Mapping[str, object]) -> None:
        """Continue from `state_dict`; an empty mapping means a fresh start."""
        self._names = list(state.get("names", []))  # type: ignore[call-overload]
        self._sums = state.get("sums")  # type: ignore[assignment]
        self._weight = int(state.get("weight", 0))  # type: ignore[call-overload]
