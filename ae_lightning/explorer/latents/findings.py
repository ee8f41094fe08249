"""All that is found out about latents, in two passes over the rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ae_lightning.explorer.histograms import Histograms
from ae_lightning.explorer.latents.rows import Batches, Encode, firings
from ae_lightning.explorer.latents.shades import Shades
from ae_lightning.explorer.latents.sums import Sums
from ae_lightning.explorer.latents.tokens import StrongTokens
from ae_lightning.explorer.latents.top import TopSamples
from ae_lightning.explorer.statistics import TOP

Array = np.ndarray[Any, Any]

TOKENS = 8
"""Tokens that are named of each latent."""

BEFORE, AFTER = 64, 31
"""Tokens that are shown before a latent's strongest one, and after it."""

# Numbers of latents times classes for which there is memory: 256 MB in all.
_LARGEST_CLASS_TABLE = 1 << 24


@dataclass(frozen=True)
class Findings:
    """Numbers on each latent, over rows.

    Args:
        rows: How many rows there were.
        density: Fraction of them on which each latent fires, (latents,).
        mean: Mean activation where it fires, 0 where it never does, (latents,).
        low: Smallest activation that is not zero, 0 where it never fires, (latents,).
        high: The largest.
        histogram: How many activations lie in each of 24 equal bins from low to high, (latents, 24).
        class_mean: Mean activation over the rows of each class, (latents, classes); None without classes.
        class_density: Fraction of the rows of each class on which it fires; None without classes.
        top: The samples that excite it most.
        shades: Its activations along these, as `Shades.result` gives them.
        tokens: Tokens on which it fires hard, and how often, as `StrongTokens.most` gives them; None without text.
    """

    rows: int
    density: Array
    mean: Array
    low: Array
    high: Array
    histogram: Array
    class_mean: Array | None
    class_density: Array | None
    top: TopSamples
    shades: tuple[Array, Array, Array]
    tokens: tuple[Array, Array] | None

    @property
    def latents(self) -> int:
        """How many latents there are."""
        return len(self.density)


def find(encode: Encode, batches: Batches, latents: int, classes: int | None, vocabulary: int | None) -> Findings:
    """Go twice through the rows, a batch at a time.

    Memory does not grow with their number, but for the pairs of a latent and a token that it fires hard on.

    Args:
        encode: Gives the codes of rows.
        batches: Gives the rows, the same each time.
        latents: How many latents there are.
        classes: How many classes the rows' samples have; None without classes.
        vocabulary: How many tokens there are; None where samples are no text.
    """
    if classes is not None and latents * classes > _LARGEST_CLASS_TABLE:
        classes = None
    sums, top = Sums(latents, classes), TopSamples(latents, TOP)
    with torch.no_grad():
        for rows in batches():
            fired = firings(encode(rows.x))
            sums.add(rows, fired)
            top.add(rows, fired)
        histograms = Histograms(sums.low, sums.high)
        shades = Shades(top) if vocabulary is None else Shades(top, BEFORE, AFTER)
        tokens = None if vocabulary is None else StrongTokens(histograms.high, vocabulary)
        for rows in batches():
            fired = firings(encode(rows.x))
            histograms.add(fired.latent, fired.value)
            shades.add(rows, fired)
            if tokens is not None:
                tokens.add(rows, fired)
    return Findings(
        rows=sums.rows,
        density=sums.density.numpy(),
        mean=sums.mean.numpy(),
        low=histograms.low.numpy(),
        high=histograms.high.numpy(),
        histogram=histograms.counts.numpy(),
        class_mean=None if classes is None else sums.class_mean.numpy(),
        class_density=None if classes is None else sums.class_density.numpy(),
        top=top,
        shades=shades.result(),
        tokens=None if tokens is None else tokens.most(TOKENS),
    )
