"""Sizes in bytes as people write them."""

from __future__ import annotations

import re

from ae_lightning.errors import ConfigError

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)
_UNITS = ((30, "GiB"), (20, "MiB"))


def bytes_of_size(size: int | str, option: str) -> int:
    """Bytes of a size such as 1GiB, 500 MB or 1073741824.

    Args:
        size: A number of bytes, or a number with a unit: of 1,000 (kB, MB, GB, TB) or of 1,024 (KiB, MiB, GiB, TiB).
        option: The option that it came from, for the message.

    Raises:
        ConfigError: It is no size.
    """
    found = _SIZE.fullmatch(str(size).strip())
    if found is None:
        raise ConfigError(f"{option} is {size}, which is no size; write a number with a unit, such as 1GiB or 500MB.")
    number, prefix, binary = found.groups()
    power = " kmgt".index(prefix.lower() or " ")
    return int(float(number) * (1024 if binary else 1000) ** power)


def said_size(size: int) -> str:
    """A number of bytes for a person, in kibibytes, mebibytes or gibibytes."""
    unit, name = next(((2**power, name) for power, name in _UNITS if size >= 2**power), (2**10, "KiB"))
    return f"{size / unit:,.1f} {name}"
