"""From an option such as ``normalize: standard`` to what is done with the numbers of a data set."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, overload

import numpy as np
import torch
from torch import Tensor

from ae_lightning.data.in_memory import InMemoryDataset
from ae_lightning.errors import ConfigError

Normalize = Literal["unit", "standard"] | tuple[float, float]

# A middle that lies further from zero, in widths, is subtracted in float64: in float32 it would cost more than 2 bits.
_NEAR = 4.0
_TINIEST = float(np.finfo(np.float32).tiny)
# Numbers that are normalized in one go: 32 MB of float64.
_AT_ONCE = 1 << 22


class Normalization(NamedTuple):
    """What is done with the numbers of a set: ``x * scale + shift``, or ``(x - center) * scale`` in float64.

    Args:
        scale: What they are multiplied by.
        shift: What is added in the end.
        center: What is subtracted first, in float64; None where float32 will do.
    """

    scale: float = 1.0
    shift: float = 0.0
    center: float | None = None

    @classmethod
    def about(cls, middle: float, width: float) -> Normalization:
        """Bring the middle to 0, and what is a width away from it to 1; the width is above 0."""
        if abs(middle) <= _NEAR * width and _TINIEST < width < 1 / _TINIEST:
            return cls(1 / width, -middle / width)
        return cls(1 / width, center=middle)

    @property
    def middle(self) -> float:
        """The stored number that becomes 0."""
        return -self.shift / self.scale if self.center is None else self.center

    @overload
    def __call__(self, value: float) -> float: ...
    @overload
    def __call__(self, value: Tensor) -> Tensor: ...
    def __call__(self, value: float | Tensor) -> float | Tensor:
        """What stored numbers become, in float64."""
        return (value - (self.center or 0.0)) * self.scale + self.shift

    def apply(self, stored: InMemoryDataset, target: InMemoryDataset | None = None) -> InMemoryDataset:
        """The same samples, normalized: as they are fetched, or at once where they are in memory and it takes float64.

        Those are then kept as float32, which takes half the memory, and no time later.

        Args:
            stored: The samples.
            target: What is to be produced of them, normalized already; None where it is the samples themselves.
        """
        x = stored.x
        normalized = InMemoryDataset(x, stored.y, sample_shape=stored.sample_shape, target=target, **self._asdict())
        if self.center is None or not isinstance(x, Tensor):
            return normalized
        kept = torch.empty(len(x), *stored.sample_shape)
        for rows in torch.arange(len(x)).split(max(1, _AT_ONCE // max(1, kept[:1].numel()))):
            kept[rows] = normalized.__getitems__(rows)[0]
        return InMemoryDataset(kept, stored.y, target=target)


def scale_and_shift(normalize: Normalize, maximum: float, standard: tuple[float, float]) -> tuple[float, float]:
    """Find the scale and shift that turn raw pixels of 0 … ``maximum`` into what the model sees.

    Args:
        normalize: ``unit`` for values in [0, 1]; ``standard`` for the mean 0 and standard deviation 1 over
            the data set; or (mean, standard deviation) in units of [0, 1] pixels, as torchvision's
            ``Normalize``.
        maximum: The largest raw pixel value.
        standard: Mean and standard deviation of the data set, in units of [0, 1] pixels.

    Returns:
        ``(scale, shift)`` with ``(pixel / maximum - mean) / std == pixel * scale + shift``.

    Raises:
        ConfigError: If ``normalize`` is none of these, or the standard deviation is not positive.
    """
    if normalize == "unit":
        return 1 / maximum, 0.0
    mean, std = standard if normalize == "standard" else _mean_and_std(normalize)
    return 1 / (maximum * std), -mean / std


def _mean_and_std(normalize: object) -> tuple[float, float]:
    try:
        mean, std = (float(value) for value in normalize)  # type: ignore[attr-defined]
    except (TypeError, ValueError):
        raise ConfigError(
            f"--data.normalize is {normalize!r}; it can be unit, standard, or two numbers [mean, standard "
            "deviation] in units of [0, 1] pixels, such as [0.1307, 0.3081]."
        ) from None
    if not (math.isfinite(mean) and math.isfinite(std) and std > 0):
        raise ConfigError(
            f"--data.normalize is [{mean:g}, {std:g}]; its second number, the standard deviation, must be "
            "positive, and both must be finite."
        )
    return mean, std
