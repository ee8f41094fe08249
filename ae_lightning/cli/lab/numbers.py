"""The numbers that a lab takes from the command line."""

import math

from ae_lightning.cli.sweep.grid import refuse_repetition
from ae_lightning.errors import ConfigError


def l0s_of(text: str | None) -> list[float]:
    """Read `8,16,32`; empty where none are given.

    Raises:
        ConfigError: One is no number above 0, or comes twice.
    """
    if text is None:
        return []
    parts = [part.strip() for part in text.split(",")]
    numbers = {part: _positive(part) for part in parts}
    refuse_repetition("--l0", numbers, parts)
    return list(numbers.values())


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not (number > 0 and math.isfinite(number)):
        raise ConfigError(f"--l0 should be numbers of active latents above 0, as in 8,16,32, not {text!r}")
    return int(number) if number.is_integer() else number
