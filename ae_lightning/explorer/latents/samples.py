"""What a page shows of a sample: its picture, its text, or its number alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ae_lightning.explorer.latents.sheets import Pictures

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Texts:
    """Samples that are texts, of which each token but those left out is a row.

    Args:
        tokens: Gives the numbers of a sample's tokens, int64 (length,), by the sample's number.
        vocabulary: Each token as a piece of text, by its number.
    """

    tokens: Callable[[int], Array]
    vocabulary: Sequence[str]


@dataclass(frozen=True)
class Images:
    """Samples that are images, of which each place of a map is a row.

    Args:
        pictures: Gives the pictures of samples by their numbers.
        places: Height and width of the map; None where a sample is one row.
    """

    pictures: Pictures
    places: tuple[int, int] | None


Shown = Texts | Images | None
"""None where samples have nothing to be shown."""
