"""How rows of a store are scaled: by the statistics that its index holds, without a pass through them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from ae_lightning.data.store import RowStatistics
from ae_lightning.errors import DataError

RowNormalize = Literal["none", "mean_norm", "mean_square", "centered", "centered_mean_square"]
"""How rows are scaled; the names are those of the input scalings of a dictionary.

`mean_norm`: one factor for all, which makes the mean norm of a row √width. `mean_square`: one that makes the mean
squared norm 1. `centered`: the mean is subtracted. `centered_mean_square`: the mean first, then the factor that what is
left needs.
"""


class RowScaling(NamedTuple):
    """Rows become ``x * scale + shift``; numbers, or tensors (width,) float32."""

    scale: float | Tensor
    shift: float | Tensor

    def undone(self, x: Tensor) -> Tensor:
        """Scaled rows (…, width) in the units of the store."""
        return (x - self.shift) / self.scale


def row_scaling(statistics: RowStatistics, normalize: RowNormalize, name: str) -> RowScaling:
    """The scaling that the statistics of an array ask for.

    Args:
        statistics: Of all rows of the array, as they are stored.
        normalize: How they are scaled.
        name: The array, for the message.

    Raises:
        DataError: There is no factor, for all rows are 0, or all alike.
    """
    is_centered = normalize.startswith("centered")
    length, goal = {
        "mean_norm": (statistics.mean_norm, math.sqrt(len(statistics.mean))),
        "mean_square": (math.sqrt(statistics.mean_squared_norm), 1.0),
        "centered_mean_square": (math.sqrt(float(statistics.variance.sum())), 1.0),
    }.get(normalize, (1.0, 1.0))
    if length <= 0:
        what = "alike" if is_centered else "0"
        raise DataError(f"All rows of {name} are {what}, so that --data.normalize {normalize} has no factor to find.")
    scale = goal / length
    return RowScaling(scale, (-statistics.mean * scale).float() if is_centered else 0.0)


def side_by_side(scalings: Sequence[RowScaling], widths: Sequence[int]) -> RowScaling:
    """The scaling of rows of several arrays, one behind the other."""
    if len(scalings) == 1:
        return scalings[0]

    def joined(parts: Iterable[float | Tensor]) -> Tensor:
        entries = zip(parts, widths, strict=True)
        return torch.cat([torch.as_tensor(part, dtype=torch.float32).expand(width) for part, width in entries])

    return RowScaling(joined(one.scale for one in scalings), joined(one.shift for one in scalings))
