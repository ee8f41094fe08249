"""Mean, covariance and principal components of samples that come in batches, of which none is kept."""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

# Directions looked for beside the wanted ones, and passes over the samples, of a randomized decomposition.
_SPARE = 10
_PASSES = 7

# Products of at least so many columns with each other are made in so many strips, each a strip shorter than the one
# before: of 384 columns in 0.8 of the time. Narrower ones take longer so.
_MIRRORED, _STRIPS = 256, 4


class Components(NamedTuple):
    """Principal components: `mean` (…, width), and `vectors` (…, components, width), orthonormal, strongest first."""

    mean: Tensor
    vectors: Tensor

    def reconstruct(self, x: Tensor) -> Tensor:
        """What the components hold of samples x (…, n, width)."""
        mean = self.mean.unsqueeze(-2)
        return (x - mean) @ self.vectors.mT @ self.vectors + mean

    def to(self, dtype: torch.dtype) -> Components:
        """The same in another format of numbers."""
        return Components(self.mean.to(dtype), self.vectors.to(dtype))


class Moments:
    """Mean and variance or covariance of rows, added up in float64, however far from zero they lie.

    Each batch is centered on its own mean and merged as Chan, Golub and LeVeque (1979) do, so that no digits are lost
    as they are in Σxxᵀ − n·x̄x̄ᵀ.

    Args:
        shape: Leading dimensions and width of the rows: (…, width). What leads is kept apart.
        device: Where sums are kept.
        covariance: Whether to add up the covariance too, (…, width, width), and not the variance alone.
    """

    def __init__(self, shape: tuple[int, ...], device: torch.device | str = "cpu", covariance: bool = True) -> None:
        self.count = 0
        self.mean = torch.zeros(shape, dtype=torch.float64, device=device)
        # Sums of squares (…, width) about the mean, or of products (…, width, width) too.
        self.scatter = torch.zeros(*shape, *shape[-1:] * covariance, dtype=torch.float64, device=device)
        self._covariance = covariance

    def add(self, rows: Tensor) -> None:
        """Add rows (…, n, width) of any format of numbers."""
        rows = rows.to(self.mean.device, torch.float64)
        mean = rows.mean(-2)
        centered = rows - mean.unsqueeze(-2)
        self._merge(rows.shape[-2], mean, products(centered) if self._covariance else centered.square_().sum(-2))

    def merge(self, other: Moments) -> None:
        """Add the rows that other moments of the same kind were made of."""
        if other.count:
            self._merge(other.count, other.mean, other.scatter)

    def _merge(self, count: int, mean: Tensor, scatter: Tensor) -> None:
        step = mean - self.mean
        total = self.count + count
        between = self.count * count / total
        self.scatter += scatter
        if self._covariance:
            self.scatter += between * step.unsqueeze(-1) * step.unsqueeze(-2)
        else:
            self.scatter += between * step.square()
        self.mean += step * (count / total)
        self.count = total

    @property
    def variance(self) -> Tensor:
        """Mean square (…, width) of each entry about its mean: the sum over the rows is divided by their number."""
        squares = self.scatter.diagonal(dim1=-2, dim2=-1) if self._covariance else self.scatter
        return squares / self.count

    def components(self, most: int) -> Components:
        """The leading principal components, min(most, width) of them.

        Where rows vary in fewer directions, the others are any that are at right angles to these.
        """
        vectors = torch.linalg.eigh(self.scatter).eigenvectors
        return Components(self.mean, vectors[..., -most:].flip(-1).mT.contiguous())


def products(rows: Tensor) -> Tensor:
    """All products of columns, rowsᵀ·rows (…, width, width), of rows (…, n, width)."""
    width = rows.shape[-1]
    if width < _MIRRORED:
        return rows.mT @ rows
    found = rows.new_empty(*rows.shape[:-2], width, width)
    edges = [width * strip // _STRIPS for strip in range(_STRIPS + 1)]
    for start, stop in pairwise(edges):
        strip = rows[..., start:].mT @ rows[..., start:stop]
        found[..., start:, start:stop] = strip
        found[..., start:stop, start:] = strip.mT
    return found


def components_of(rows: Tensor, most: int, generator: torch.Generator) -> Components:
    """Leading principal components of rows that are wider than a covariance could be, nearly exact.

    Randomized subspace iteration (Halko, Martinsson and Tropp 2011).

    Args:
        rows: Samples (…, n, width); they are centered in place.
        most: Number of components, capped at min(n, width).
        generator: What the first directions are drawn with, on the CPU.

    Returns:
        The components, in the format of the rows.
    """
    mean = rows.mean(-2, dtype=torch.float64).to(rows.dtype)
    rows -= mean.unsqueeze(-2)
    *lead, count, width = rows.shape
    found = min(most + _SPARE, count, width)
    start = torch.randn(*lead, width, found, generator=generator, dtype=rows.dtype).to(rows.device)
    basis = torch.linalg.qr(rows @ start).Q
    for _ in range(_PASSES):
        basis = torch.linalg.qr(rows @ torch.linalg.qr(rows.mT @ basis).Q).Q
    vectors = torch.linalg.svd(basis.mT @ rows, full_matrices=False).Vh
    return Components(mean, vectors[..., : min(most, count), :].contiguous())
