"""Samples, or targets, of the three sets that are read from files: one shape, one way to be normalized."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Literal

import numpy as np
import torch

from ae_lightning.data.in_memory import InMemoryDataset
from ae_lightning.data.normalization import Normalization
from ae_lightning.data.rounding import require_fits, tell_rounding
from ae_lightning.data.statistics import Statistics, scan
from ae_lightning.errors import DataError

ArrayNormalize = Literal["none", "unit", "standard"]

_SETS = ("train", "val", "test")


class Column:
    """The training, validation and test rows of one array, as they are stored, and what they are normalized by.

    Args:
        sets: The three, in this order.
        paths: Their files by the names train, val and test; None for those that are part of another.
        options: The options that name these files, by the same names.
        normalize: As `ArraysDataModule` has it.

    Raises:
        DataError: Rows of the three have several shapes.
    """

    def __init__(
        self,
        sets: Sequence[InMemoryDataset],
        paths: Mapping[str, str | None],
        options: Mapping[str, str],
        normalize: ArrayNormalize,
    ) -> None:
        self.sets = sets
        self.normalize: ArrayNormalize = normalize
        self._paths = paths
        train = sets[0]
        for name, other in zip(_SETS, sets, strict=True):
            if other.sample_shape != train.sample_shape:
                raise DataError(
                    f"The samples of {options[name]} have the shape {other.sample_shape} and those of "
                    f"{options['train']} {train.sample_shape}; all must have the same."
                )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        return self.sets[0].sample_shape

    @property
    def value_range(self) -> tuple[float, float]:
        """Range of the training rows after normalization; the first call may go through them."""
        if self.normalize == "unit":
            return 0.0, 1.0
        return self.normalization(self._statistics.minimum), self.normalization(self._statistics.maximum)

    def check(self) -> None:
        """Refuse values that are no numbers, or that float32 cannot hold once normalized; tell what it rounds away."""
        train, val, test = self.sets
        path, how = str(self._paths["train"]), self.normalization
        require_fits(train, self._statistics, how, path)
        tell_rounding(train, self._statistics, how, self.normalize, path)
        for one, own in ((val, self._paths["val"] or path), (test, self._paths["test"])):
            if own is not None:
                require_fits(one, scan(one, own), how, own)

    @cached_property
    def normalization(self) -> Normalization:
        """What all rows are normalized by, as the training rows have it."""
        if self.normalize == "none":
            return Normalization()
        if self.normalize == "unit" and self.sets[0].x.dtype in (torch.uint8, np.uint8):
            return Normalization(1 / 255)
        found, path = self._statistics, self._paths["train"]
        if found.minimum == found.maximum:
            raise DataError(
                f"All values of {path} are {found.minimum:g}, so that --data.normalize "
                f"{self.normalize} is not possible; set it to none."
            )
        middle, width = (
            (found.minimum, found.maximum - found.minimum) if self.normalize == "unit" else (found.mean, found.std)
        )
        if not math.isfinite(width) or width < np.finfo(np.float64).tiny:
            raise DataError(
                f"The values of {path} go from {found.minimum:g} to {found.maximum:g}, which even "
                "float64 cannot bring to another scale; scale them yourself, and set --data.normalize none."
            )
        return Normalization.about(middle, width)

    @cached_property
    def _statistics(self) -> Statistics:
        return scan(self.sets[0], str(self._paths["train"]))
