"""Whole numbers from the command line."""

import argparse
from collections.abc import Iterable

from ae_lightning.errors import ConfigError


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
