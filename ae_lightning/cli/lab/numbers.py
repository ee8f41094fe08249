"""The numbers that a lab takes from the command line."""

import argparse
import math
from collections.abc import Iterable

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


def whole_of(option: str, text: str | None) -> int | None:
    """Read the whole number of an option, at least 1; None where it is not given.

    Raises:
        ConfigError: It is something else.
    """
    if text is None:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"{option} should be a whole number of at least 1, not {text!r}")
    return int(text)


def wholes_of(options: argparse.Namespace, names: Iterable[str]) -> dict[str, int]:
    """Read the whole numbers of several options, each at least 1, as far as they are given.

    Raises:
        ConfigError: One is something else.
    """
    found = {name: whole_of(f"--{name.replace('_', '-')}", getattr(options, name)) for name in names}
    return {name: number for name, number in found.items() if number is not None}


def jobs_of(text: str) -> int:
    """Read the number of fits at a time.

    Raises:
        ConfigError: It is no whole number of at least 1.
    """
    if not text.isdecimal() or int(text) < 1:
        raise ConfigError(f"--jobs is the number of fits at a time, a whole number of at least 1, not {text!r}")
    return int(text)
