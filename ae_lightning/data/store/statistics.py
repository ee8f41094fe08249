"""Statistics of the rows of a store, of the values as they are stored, added up in float64 and merged over shards."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from ae_lightning.analysis.moments import Moments
from ae_lightning.files import sha256_of
from ae_lightning.safetensors_writer import write_tensors

WIDEST_COVARIANCE = 4096
"""Width up to which the covariance is kept where nothing else is said."""

# Numbers looked at together, in float64: 1 MB, which a cache holds.
_AT_ONCE = 1 << 17
# Rows looked at together for a covariance, at least; and as many as it has, so that adding it up is the smaller part.
_ROWS_AT_ONCE = 1024


@dataclass(frozen=True)
class RowStatistics:
    """Statistics of an array of rows (count, width), as they are stored.

    Args:
        count: Number of rows.
        mean: Mean of each entry, (width,) float64.
        variance: Mean square of each entry about its mean, (width,) float64; the sum is divided by `count`.
        mean_norm: Mean Euclidean norm of a row.
        mean_squared_norm: Mean squared norm of a row.
        minimum: Smallest value of all.
        maximum: Largest value of all.
        file: File that holds the covariance, if it is kept.
    """

    count: int
    mean: Tensor
    variance: Tensor
    mean_norm: float
    mean_squared_norm: float
    minimum: float
    maximum: float
    file: Path | None = None

    @property
    def largest(self) -> float:
        """Largest absolute value of all."""
        return max(abs(self.minimum), abs(self.maximum))

    @cached_property
    def covariance(self) -> Tensor | None:
        """Covariance (width, width) float64, divided by `count`; None where it is not kept."""
        return None if self.file is None else read_vectors(self.file).get("covariance")


class RowSums:
    """What is added up of rows to make their statistics; sums of shards are merged in the order of the shards.

    Args:
        width: Numbers of a row.
        covariance: Whether to add up the covariance too, 8 · width² bytes.
    """

    @torch.inference_mode(False)  # a harvest is in that mode, and the threads that add up are not
    def __init__(self, width: int, covariance: bool) -> None:
        self.moments = Moments((width,), covariance=covariance)
        self.covariance = covariance
        self.norms = self.squares = 0.0
        self.minimum, self.maximum = math.inf, -math.inf

    def add(self, rows: Tensor) -> None:
        """Add rows (n, width) of any format of numbers, in pieces that depend on the width alone."""
        width = rows.shape[-1]
        for piece in rows.split(max(_AT_ONCE // width, max(width, _ROWS_AT_ONCE) if self.covariance else 1)):
            values = piece.to(torch.float64)
            norms = torch.linalg.vector_norm(values, dim=-1)
            least, most = (float(bound) for bound in values.aminmax())
            self._merge(float(norms.sum()), float(norms.square().sum()), least, most)
            self.moments.add(values)

    def merge(self, other: RowSums) -> None:
        """Add the rows that other sums were made of."""
        self._merge(other.norms, other.squares, other.minimum, other.maximum)
        self.moments.merge(other.moments)

    def scalars(self) -> dict[str, float]:
        """Statistics that are single numbers, by their names in an index."""
        return {
            "mean_norm": self.norms / self.moments.count,
            "mean_squared_norm": self.squares / self.moments.count,
            "minimum": self.minimum,
            "maximum": self.maximum,
        }

    def vectors(self) -> dict[str, Tensor]:
        """Statistics that have an entry for each of a row, by their names in a file."""
        found = {"mean": self.moments.mean, "variance": self.moments.variance}
        return found | ({"covariance": self.moments.scatter / self.moments.count} if self.covariance else {})

    def tensors(self) -> dict[str, Tensor]:
        """All sums, from which `restored` goes on with the same digits."""
        numbers = [self.moments.count, self.norms, self.squares, self.minimum, self.maximum]
        return {
            "numbers": torch.tensor(numbers, dtype=torch.float64),
            "mean": self.moments.mean,
            "scatter": self.moments.scatter,
        }

    @classmethod
    def restored(cls, tensors: Mapping[str, Tensor]) -> RowSums:
        """The sums that `tensors` were made of."""
        scatter = tensors["scatter"]
        sums = cls(len(tensors["mean"]), covariance=scatter.ndim == 2)
        count, sums.norms, sums.squares, sums.minimum, sums.maximum = tensors["numbers"].tolist()
        sums.moments.count, sums.moments.mean, sums.moments.scatter = int(count), tensors["mean"], scatter
        return sums

    def _merge(self, norms: float, squares: float, minimum: float, maximum: float) -> None:
        self.norms += norms
        self.squares += squares
        self.minimum, self.maximum = min(self.minimum, minimum), max(self.maximum, maximum)


def write_statistics(file: Path, sums: RowSums) -> dict[str, Any]:
    """Write the file of an array's statistics, and answer what an index says of them.

    Raises:
        OSError: It cannot be written.
    """
    write_tensors(file, sums.vectors())
    whole = {"sha256": sha256_of(file), "bytes": file.stat().st_size}
    return {"count": sums.moments.count, **sums.scalars(), "file": file.name, **whole}


def statistics_of(scalars: Mapping[str, Any], width: int, count: int, file: Path) -> RowStatistics:
    """Statistics of an array from what an index says of it and from its file.

    Raises:
        ValueError: The file is that of another array.
        OSError, SafetensorError, KeyError, TypeError: It is missing or damaged, or the index is.
    """
    with safe_open(file, "pt") as opened:
        names = set(opened.keys())
        mean, variance = opened.get_tensor("mean"), opened.get_tensor("variance")
    if mean.shape != (width,) or variance.shape != (width,):
        raise ValueError(f"{file} holds no mean and variance of {width} entries")
    numbers = {name: float(scalars[name]) for name in ("mean_norm", "mean_squared_norm", "minimum", "maximum")}
    return RowStatistics(count, mean, variance, **numbers, file=file if "covariance" in names else None)


def read_vectors(file: Path) -> dict[str, Tensor]:
    """All tensors of a file of statistics, in memory."""
    with safe_open(file, "pt") as opened:
        return {name: opened.get_tensor(name).clone() for name in opened.keys()}  # noqa: SIM118
