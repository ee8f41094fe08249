"""What float32 does to numbers on their way to a model: what it cannot hold, and what it rounds away."""

from __future__ import annotations

import warnings

import numpy as np
import torch
from torch import Tensor

from ae_lightning.data.in_memory import InMemoryDataset
from ae_lightning.data.normalization import Normalization
from ae_lightning.data.statistics import Statistics, find
from ae_lightning.errors import DataError, Notice

_LARGEST = float(np.finfo(np.float32).max)
# What a number is rounded by at most, beside the number itself.
_PRECISION = 2.0**-24
# The part of what samples differ by that may be rounded away untold.
_UNTOLD = 1e-3
# Whole numbers up to it are exact in float64, in which all arithmetic before the model is done.
_WHOLE = 2**53


def require_fits(dataset: InMemoryDataset, found: Statistics, how: Normalization, path: str) -> None:
    """Refuse numbers that are infinite in float32 once they are normalized.

    Args:
        dataset: The set, as it is stored.
        found: Its statistics.
        how: How it will be normalized.
        path: Its file.

    Raises:
        DataError: There are some.
    """
    if max(abs(how(found.minimum)), abs(how(found.maximum))) <= _LARGEST:
        return

    def is_infinite(values: Tensor) -> Tensor:
        return torch.isinf(how(values).float())

    bad, first = find(dataset, is_infinite)
    raise DataError(
        f"{path} holds {bad:,} values that are infinite in float32, the first in row {first:,} (counted from 0), where "
        f"all lie between {found.minimum:g} and {found.maximum:g}; remove or replace them, or set --data.normalize "
        "standard if all are so large."
    )


def tell_rounding(dataset: InMemoryDataset, found: Statistics, how: Normalization, option: str, path: str) -> None:
    """Say what is rounded away of training samples, where that is more than a model could be expected to miss.

    Args:
        dataset: The set, as it is stored.
        found: Its statistics.
        how: How it will be normalized.
        option: The same, as `--data.normalize` has it.
        path: Its file.
    """
    largest = max(abs(found.minimum), abs(found.maximum))
    if largest > _WHOLE and "int64" in str(dataset.x.dtype):
        _say(f"{path} holds whole numbers of up to {largest:.3g}, of which float64 keeps the first 53 bits")
    hidden = found.furthest(how.middle) * _PRECISION
    if hidden <= _UNTOLD:
        return
    own = found.furthest(found.mean) * _PRECISION > _UNTOLD
    advice = "subtract the mean of each entry before you save them" if own else "set --data.normalize standard"
    _say(
        f"the values of {path} lie far from zero (--data.normalize {option}): float32, in which models are trained, "
        f"rounds away {min(hidden, 1):.1g} of what samples differ by; {advice}"
    )


def _say(sentence: str) -> None:
    warnings.warn(sentence, Notice, stacklevel=2)
