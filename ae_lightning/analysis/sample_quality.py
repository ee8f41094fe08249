"""How like the data generated samples are: whether they look real, and whether they are as varied.

Samples are compared as features (n, width), all on one scale. Distances are reckoned in float64, some thousand rows at
a time, so that no matrix of all pairs is ever made.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

NEIGHBORS = 5
"""Which nearest neighbor gives a point its radius, after Naeem et al. (2020); Kynkäänniemi et al. (2019) take 3."""

# Distances in memory at once: 32 MB in float64.
_MOST_DISTANCES = 1 << 22


class Neighborhoods(NamedTuple):
    """Four numbers from the neighborhoods of points, of which each is 1, or near it, for samples like the data.

    Attributes:
        precision: Part of the generated points that lie in the neighborhood of some real point, in [0, 1].
        recall: Part of the real points that lie in the neighborhood of some generated point, in [0, 1].
        density: How many neighborhoods of real points a generated point lies in, divided by k: in the mean 1 for
            samples of the same distribution, and more for samples that crowd where data are dense.
        coverage: Part of the real points with a generated point in their neighborhood, in [0, 1].
    """

    precision: float
    recall: float
    density: float
    coverage: float


def neighborhoods(real: Tensor, generated: Tensor, neighbors: int = NEIGHBORS) -> Neighborhoods:
    """Precision and recall (Kynkäänniemi et al. 2019), density and coverage (Naeem et al. 2020).

    The neighborhood of a point is the closed ball about it that reaches to its k-th nearest neighbor in its own set.
    All four depend on the sizes of the sets: compare numbers of equal sizes only. With n points of the same
    distribution in both sets the expected coverage is 1 − Π (n − j) / (2n − j) over j = 1 … k, near 1 − 2⁻ᵏ.

    Args:
        real: Features of real samples, (n, width).
        generated: Features of generated samples, (m, width).
        neighbors: k, less than n and m.

    Returns:
        The four numbers.

    Raises:
        ValueError: A set has no more than k points, widths differ, or a feature is not finite.
    """
    real, generated = _checked(real, generated, at_least=neighbors + 1)
    radii, own = _radii(real, neighbors), _radii(generated, neighbors)
    balls, covered, recalled = 0, 0, 0
    precise = torch.zeros(len(generated), dtype=torch.bool)
    for part, distances in _distances(real, generated):
        within = distances <= radii[part, None]
        balls += int(within.sum())
        covered += int(within.any(1).sum())
        precise |= within.any(0)
        recalled += int((distances <= own).any(1).sum())
    n, m = len(real), len(generated)
    return Neighborhoods(int(precise.sum()) / m, recalled / n, balls / (neighbors * m), covered / n)


def kernel_distance(real: Tensor, generated: Tensor) -> float:
    """Squared maximum mean discrepancy with the kernel (x·y / width + 1)³, unbiased, so that it may be below 0.

    It is computed as the kernel inception distance is (Bińkowski et al. 2018), of other features. Scale features such
    that x·x is near their width.

    Args:
        real: Features (n, width), n at least 2.
        generated: Features (m, width), m at least 2.

    Returns:
        Mean kernel between different real points, plus that between different generated ones, minus twice that between
        the sets. Its expectation is 0 for samples of one distribution, whatever the sizes.

    Raises:
        ValueError: A set has fewer than 2 points, widths differ, or a feature is not finite.
    """
    real, generated = _checked(real, generated, at_least=2)
    within = sum(_kernel_sum(x, x, pairs=len(x) * (len(x) - 1)) for x in (real, generated))
    return within - 2 * _kernel_sum(real, generated, pairs=len(real) * len(generated))


def frechet_distance(real: Tensor, generated: Tensor) -> float:
    """Fréchet distance between the normals that have the means and covariances of two sets of features.

    Args:
        real: Features (n, width), n at least 2.
        generated: Features (m, width), m at least 2.

    Returns:
        See `frechet_distance_of_normals`. It is biased: of samples of one distribution it is above 0, the more so the
        fewer they are.

    Raises:
        ValueError: A set has fewer than 2 points, widths differ, or a feature is not finite.
    """
    real, generated = _checked(real, generated, at_least=2)
    means = real.mean(0), generated.mean(0)
    first, second = (torch.atleast_2d(x.T.cov()) for x in (real, generated))
    return frechet_distance_of_normals(means[0], first, means[1], second)


def frechet_distance_of_normals(
    mean: Tensor, covariance: Tensor, other_mean: Tensor, other_covariance: Tensor
) -> float:
    """‖μ₁ − μ₂‖² + tr(Σ₁ + Σ₂ − 2 (Σ₁ Σ₂)^½), the squared Wasserstein distance of two normals (Dowson and Landau 1982).

    Args:
        mean: μ₁, (width,).
        covariance: Σ₁, (width, width), which may be singular.
        other_mean: μ₂.
        other_covariance: Σ₂.
    """
    mean, covariance, other_mean, other_covariance = (
        x.double() for x in (mean, covariance, other_mean, other_covariance)
    )
    # tr (Σ₁ Σ₂)^½ = tr (Σ₁^½ Σ₂ Σ₁^½)^½, whose roots are those of symmetric matrices and never complex.
    values, vectors = torch.linalg.eigh(covariance)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    shared = torch.linalg.eigvalsh(root @ other_covariance @ root).clamp(min=0).sqrt().sum()
    apart = (mean - other_mean).square().sum()
    return float(apart + covariance.trace() + other_covariance.trace() - 2 * shared)


def _radii(points: Tensor, neighbors: int) -> Tensor:
    """Distance of each point to its k-th nearest neighbor among the others, (n,)."""
    radii = points.new_empty(len(points))
    for part, distances in _distances(points, points):
        distances[torch.arange(len(distances)), torch.arange(len(points))[part]] = -1.0  # itself, whatever lies upon it
        radii[part] = distances.kthvalue(neighbors + 1, dim=1).values
    return radii


def _distances(points: Tensor, others: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """Euclidean distances (some, m) of some points after the other to all others, and which points they are of."""
    for part in _parts(len(points), len(others)):
        # Not by way of x·y, which is inexact for points that are close.
        yield part, torch.cdist(points[part], others, compute_mode="donot_use_mm_for_euclid_dist")


def _kernel_sum(points: Tensor, others: Tensor, pairs: int) -> float:
    """Sum of the kernel over all pairs, of one set those of different points, by the number of pairs."""
    total = 0.0
    for part in _parts(len(points), len(others)):
        kernel = (points[part] @ others.T / points.shape[1] + 1) ** 3
        total += float(kernel.sum())
        if points is others:
            total -= float(kernel[:, part].trace())
    return total / pairs


def _parts(count: int, others: int) -> Iterator[slice]:
    size = max(1, _MOST_DISTANCES // others)
    return (slice(start, min(start + size, count)) for start in range(0, count, size))


def _checked(real: Tensor, generated: Tensor, at_least: int) -> tuple[Tensor, Tensor]:
    for name, features in (("real", real), ("generated", generated)):
        if features.ndim != 2 or len(features) < at_least:
            raise ValueError(
                f"there must be features (n, width) of at least {at_least} {name} samples, but they are "
                f"{tuple(features.shape)}"
            )
        if not features.isfinite().all():
            raise ValueError(f"features must be finite, but some of the {name} samples are NaN or infinite")
    if real.shape[1] != generated.shape[1]:
        raise ValueError(
            f"real and generated samples must have features of one width, but theirs are {real.shape[1]} and "
            f"{generated.shape[1]}"
        )
    return real.double(), generated.double()
