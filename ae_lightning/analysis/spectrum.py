"""Spectra of weight matrices: singular values, effective rank, norm.

Every function takes a matrix of shape (..., m, n), a tensor on any device or an array, and treats the leading
dimensions as instances. Each answers a detached tensor on the same device, with one entry per instance (a
scalar tensor for one matrix).
"""

from __future__ import annotations

from typing import Any

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor


def _as_matrix(weight: Any) -> Tensor:
    matrix = torch.as_tensor(weight).detach()
    if matrix.ndim < 2 or 0 in matrix.shape:
        raise ValueError(f"a weight must be a non-empty (..., m, n) matrix, but its shape is {tuple(matrix.shape)}")
    # Apple's GPUs have no float64; there the work moves to the CPU.
    return matrix.cpu().double() if matrix.device.type == "mps" else matrix.double()


def singular_values(weight: Any) -> Tensor:
    """Singular values of a matrix, in float64.

    They are the square roots of the eigenvalues of the smaller Gram matrix, formed in float64. That is two to
    three times as fast as a singular value decomposition in float64 (0.15 s for 784 by 1024 on a CPU). The
    price is that values below about 1e-8 of the largest are noise.

    Args:
        weight: Matrix of shape (..., m, n).

    Returns:
        Shape (..., min(m, n)), in descending order; NaN for an instance with a weight that is not finite.

    Raises:
        ValueError: If ``weight`` is empty or has fewer than two dimensions.
    """
    matrix = _as_matrix(weight)
    finite = matrix.isfinite().all(dim=-1).all(dim=-1)[..., None]
    # A diverged run must be logged as NaN, not stopped by an eigensolver that refuses its input.
    matrix = torch.where(finite[..., None], matrix, 0.0)
    rows, columns = matrix.shape[-2:]
    gram = matrix @ matrix.mT if rows <= columns else matrix.mT @ matrix
    # LAPACK's threads wait for each other at every column. Where something else is using a core, two of them
    # took up to five seconds for what one does in 0.08.
    with threadpool_limits(limits=1):
        squares = torch.linalg.eigvalsh(gram)
    return torch.where(finite, squares.flip(-1).clamp(min=0).sqrt(), torch.nan)


def effective_rank(weight: Any) -> Tensor:
    """Entropy effective rank exp(H(p)) with p = σ / Σσ, after Roy and Vetterli (2007).

    It lies between 1 (one direction carries everything) and min(m, n) (all directions equally strong), does
    not depend on the scale of the weight, and is 0 for a matrix of zeros.

    Args:
        weight: Matrix of shape (..., m, n).

    Returns:
        Shape (...), one number per instance; NaN for an instance with a weight that is not finite.

    Raises:
        ValueError: If ``weight`` is empty or has fewer than two dimensions.
    """
    return rank_of_spectrum(singular_values(weight))


def rank_of_spectrum(values: Tensor) -> Tensor:
    """`effective_rank` of singular values that are known, (..., n): one number per instance, (...)."""
    total = values.sum(dim=-1)
    shares = values / total.clamp(min=torch.finfo(values.dtype).tiny)[..., None]
    rank = torch.special.entr(shares).sum(dim=-1).exp()
    return torch.where(total == 0, 0.0, rank)


def frobenius_norm(weight: Any) -> Tensor:
    """Square root of the sum of squared weights, in float64.

    Args:
        weight: Matrix of shape (..., m, n).

    Returns:
        Shape (...), one number per instance.

    Raises:
        ValueError: If ``weight`` is empty or has fewer than two dimensions.
    """
    return torch.linalg.matrix_norm(_as_matrix(weight))


def weight_statistics(encoder_vectors: Tensor, decoder_vectors: Tensor) -> dict[str, float]:
    """Effective rank and Frobenius norm of two matrices (…, latent, input), by the names that they are logged under.

    With leading instances, means over them.
    """
    statistics: dict[str, float] = {}
    for side, vectors in (("encoder", encoder_vectors.detach()), ("decoder", decoder_vectors.detach())):
        statistics[f"weights/{side}_effective_rank"] = float(effective_rank(vectors).mean())
        statistics[f"weights/{side}_norm"] = float(frobenius_norm(vectors).mean())
    return statistics
