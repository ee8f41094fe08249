"""Which rows are held out for validation."""

from __future__ import annotations

import torch
from torch import Tensor

from ae_lightning.errors import ConfigError, DataError
from ae_lightning.training.seeds import seeded_generator


def check_fraction(option: str, value: float) -> None:
    """Raise ConfigError unless a fraction lies between 0 and 1, both excluded."""
    if not 0 < value < 1:
        raise ConfigError(f"--data.{option} is {value:g}; it must lie between 0 and 1, both excluded.")


def split_train_val(n: int, val_fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Draw a validation set from n rows.

    Args:
        n: Number of rows.
        val_fraction: Part of them that goes to the validation set, rounded to the nearest whole number.
        seed: Seed of the draw, which has its own generator.

    Returns:
        The rows of the training and of the validation set, int64, disjoint, together all n, each in
        ascending order.

    Raises:
        DataError: If one of the two would be empty.
    """
    held_out = round(n * val_fraction)
    if not 0 < held_out < n:
        raise DataError(
            f"--data.val_fraction {val_fraction:g} of {n:,} samples leaves {n - held_out:,} for training and "
            f"{held_out:,} for validation; each needs at least one, so choose it between {0.5 / n:.2g} and "
            f"{1 - 0.5 / n:.2g}."
        )
    is_val = torch.zeros(n, dtype=torch.bool)
    is_val[torch.randperm(n, generator=seeded_generator(seed))[:held_out]] = True
    return torch.nonzero(~is_val).flatten(), torch.nonzero(is_val).flatten()
