"""The factors that samples were made from, where these are known."""

from __future__ import annotations

from typing import NamedTuple


class Factor(NamedTuple):
    """Something that differs between samples, such as the place of a shape, and the values that it takes.

    Args:
        name: What it is called.
        values: What each of its values is called, in order; y holds their numbers, counted from 0.
        is_ordered: Whether a larger number is more of something. The numbers of shapes only tell them apart.
    """

    name: str
    values: tuple[str, ...]
    is_ordered: bool = True
