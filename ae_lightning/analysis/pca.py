"""Principal components, fitted with little memory and the same on every run.

scikit-learn does the fitting and is imported on first use.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

Array = np.ndarray[Any, Any]

_CHUNK = 8192
# Above this width the covariance matrix, (width, width), costs more than the data.
_MAX_COVARIANCE_WIDTH = 4096
# Fewer components than this part of all are found one by one.
_FEW = 200


def as_rows(x: Any) -> Array:
    """View samples as rows.

    Args:
        x: Tensor or array of shape (n, ...), of any type of number.

    Returns:
        Array of shape (n, d), of the same type and, where the layout allows, the same memory.

    Raises:
        ValueError: If there are no samples or no features.
    """
    rows = x.detach().cpu().numpy() if isinstance(x, torch.Tensor) else np.asarray(x)
    if rows.ndim == 0 or rows.size == 0:
        raise ValueError(f"samples must have the shape (n, ...) with n > 0, but theirs is {rows.shape}")
    return rows.reshape(len(rows), -1)


def mean_row(rows: Array) -> Array:
    """Mean of (n, d) rows, accumulated in float64; float32 of shape (d,)."""
    return rows.mean(axis=0, dtype=np.float64).astype(np.float32)


def chunks(rows: Array) -> Iterator[Array]:
    """Split (n, d) rows into float32 pieces of a few thousand rows, so that no whole copy is ever made."""
    for start in range(0, len(rows), _CHUNK):
        yield rows[start : start + _CHUNK].astype(np.float32, copy=False)


@dataclass(frozen=True)
class Pca:
    """A fitted linear code: ``mean`` (d,) and orthonormal ``components`` (k, d), both float32."""

    mean: Array
    components: Array

    def encode(self, x: Any) -> Array:
        """Codes of samples (n, ...): float32 of shape (n, k)."""
        return np.concatenate([(chunk - self.mean) @ self.components.T for chunk in chunks(as_rows(x))])

    def decode(self, codes: Array) -> Array:
        """Reconstructions of codes (n, k): float32 of shape (n, d)."""
        return codes @ self.components + self.mean


def fit_pca(x: Any, n_components: int) -> Pca:
    """Fit principal components.

    The extra memory is one float32 copy of ``x`` (188 MB for the 60,000 images of MNIST), which is centered
    before the covariance is formed, because the covariance of data far from zero loses its digits.

    Args:
        x: Samples of shape (n, ...).
        n_components: Number of components, capped at min(n, d).

    Returns:
        The ``min(n_components, n, d)`` leading components, strongest first. They are exact up to 4,096
        features; above that, a randomized decomposition with a fixed seed stands in. Of samples that are all
        alike, the components are the first axes, along which every code is 0.

    Raises:
        ValueError: If ``n_components`` is less than 1, or a sample is not finite.
    """
    from sklearn.decomposition import PCA

    if n_components < 1:
        raise ValueError(f"n_components must be at least 1, but is {n_components}")
    rows = as_rows(x)
    mean = mean_row(rows)
    if not np.isfinite(mean).all():
        raise ValueError("principal components need finite samples, but some are NaN or infinite")
    centered = np.subtract(rows, mean, dtype=np.float32)
    n, width = rows.shape
    if not centered.any():  # any directions will do, and ARPACK would refuse to look for them
        return Pca(mean=mean, components=np.eye(min(n_components, n, width), width, dtype=np.float32))
    solver = "covariance_eigh" if width <= n else "full"
    if width > _MAX_COVARIANCE_WIDTH:
        solver = "randomized"
    elif n_components * _FEW < min(n, width):
        solver = "arpack"  # of 3,136 components all would be computed for the first two, ten times as slowly
    pca = PCA(min(n_components, n, width), svd_solver=solver, copy=False, random_state=0)
    pca.fit(centered)
    return Pca(mean=mean, components=pca.components_.astype(np.float32, copy=False))
