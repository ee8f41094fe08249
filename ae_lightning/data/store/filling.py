"""The shard that is being filled with rows, in memory."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ae_lightning.data.store.names import EXTRAS
from ae_lightning.errors import DataError

Shapes = dict[str, tuple[tuple[int, ...], torch.dtype]]


def shapes_of(arrays: Mapping[str, int], dtype: torch.dtype, extras: Sequence[str], rows: int) -> Shapes:
    """Shape and type of each tensor of so many rows of a store."""
    shapes: Shapes = {name: ((rows, width), dtype) for name, width in arrays.items()}
    return shapes | {name: ((rows,), EXTRAS[name]) for name in extras}


class Filling:
    """Memory of one shard, into which rows are put as they come.

    Args:
        number: Which shard it is.
        shapes: Shape and type of each of its tensors.
    """

    @torch.inference_mode(False)  # rows may come within that mode and without
    def __init__(self, number: int, shapes: Shapes) -> None:
        self.number = number
        self.rows = 0
        self.dropped: dict[str, int] = {}
        #: Whether all rows came from the CPU, so that what made them computes there.
        self.from_cpu = True
        self._tensors = {name: torch.empty(shape, dtype=dtype) for name, (shape, dtype) in shapes.items()}

    def put(self, rows: Mapping[str, Tensor], first_row: int) -> None:
        """Put rows behind those that are there, which fit in.

        Args:
            rows: A part of each tensor.
            first_row: Number of the first one, for messages.

        Raises:
            DataError: A value is NaN, or infinite in the type that it is stored in.
        """
        for name, part in rows.items():
            stored = self._tensors[name][self.rows : self.rows + len(part)]
            stored.copy_(part.detach())
            self.from_cpu &= part.device.type == "cpu"
            if stored.is_floating_point() and not all(map(math.isfinite, stored.aminmax())):
                raise _not_finite(name, part, stored, first_row)
        self.rows += len(next(iter(rows.values())))

    def count_dropped(self, dropped: Mapping[str, int]) -> None:
        """Count rows that were left out beside these, by reason."""
        for reason, count in dropped.items():
            self.dropped[reason] = self.dropped.get(reason, 0) + count

    def tensors(self) -> dict[str, Tensor]:
        """What is filled of each tensor."""
        return {name: tensor[: self.rows] for name, tensor in self._tensors.items()}


def _not_finite(name: str, rows: Tensor, stored: Tensor, first_row: int) -> DataError:
    """The error about a value that is not finite, or not in the type that it is stored in."""
    place = int((~torch.isfinite(stored)).any(1).nonzero()[0])
    bad = float(rows[place].float().cpu()[~torch.isfinite(stored[place])][0])
    where = f"row {first_row + place:,} of {name}"
    if not math.isfinite(bad):
        return DataError(f"The activations hold {bad} in {where}; leave out the samples that make it.")
    kind, most = str(stored.dtype).removeprefix("torch."), torch.finfo(stored.dtype).max
    return DataError(
        f"The activations hold {bad:.6g} in {where}, beyond what {kind} holds (up to {most:,.6g}); harvest into "
        f"another folder with --dtype {'bfloat16 or float32' if kind == 'float16' else 'float32'}."
    )
