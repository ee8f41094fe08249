"""Text out of files, made fit for a terminal, which would obey some of its signs."""

import re

# Controls but the end of a line and the tabulator, those of the direction of writing, and halves of signs.
_OBEYED = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    r"""The text with what a terminal would obey spelled out, as in \x1b[31m.

    Example:
        >>> print(printable("a \x1b[31mname"))
        a \x1b[31mname
    """
    return _OBEYED.sub(lambda sign: f"\\x{ord(sign[0]):02x}" if ord(sign[0]) < 256 else f"\\u{ord(sign[0]):04x}", text)
