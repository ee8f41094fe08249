"""From an option such as ``normalize: standard`` to the scale and shift of a data set."""

from __future__ import annotations

import math
from typing import Literal

from ae_lightning.errors import ConfigError

Normalize = Literal["unit", "standard"] | tuple[float, float]


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
