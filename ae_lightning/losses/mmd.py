"""How far two samples are from one distribution: the maximum mean discrepancy."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ae_lightning.nn.precision import at_least_float32

SCALES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""Multiples of the width that suits a normal of variance 1; kernels of all of them are added."""


def imq_mmd(codes: Tensor, prior: Tensor, variance: float = 1.0, scales: Sequence[float] = SCALES) -> Tensor:
    """Unbiased estimate of the squared maximum mean discrepancy of codes and draws from a prior.

    The kernel is a sum of inverse multiquadrics, k(a, b) = Σ_s C_s / (C_s + ‖a − b‖²) with C_s = 2 m σ² s for codes of
    m numbers: 2 m σ² is the mean squared distance of two draws from a normal of variance σ². The estimate is
    mean_{i≠j} k(z_i, z_j) + mean_{i≠j} k(p_i, p_j) − 2 mean_{i,j} k(z_i, p_j). Its mean is 0 where both come from one
    distribution, so that it is below 0 half of the time.

    Source: Tolstikhin et al. (2018), "Wasserstein auto-encoders", algorithm 2; Gretton et al. (2012), equation 3.

    Args:
        codes: z (n, m), n at least 2.
        prior: p (n', m), n' at least 2.
        variance: σ² of the prior in one dimension.
        scales: s.

    Returns:
        A scalar in float32 or wider, at most twice the number of scales.
    """
    codes, prior = at_least_float32(codes), at_least_float32(prior)
    width = 2 * codes.shape[1] * variance
    # Products in bfloat16 would lose the distances of near codes.
    with torch.autocast(codes.device.type, enabled=False):
        return (
            _mean_of_others(_kernel(_squared_distances(codes, codes), width, scales))
            + _mean_of_others(_kernel(_squared_distances(prior, prior), width, scales))
            - 2 * _kernel(_squared_distances(codes, prior), width, scales).mean()
        )


def _squared_distances(a: Tensor, b: Tensor) -> Tensor:
    """‖a_i − b_j‖² (n, n'), by one product of matrices; rounding may not make it negative."""
    squares = a.square().sum(1)[:, None] + b.square().sum(1)
    return (squares - 2 * a @ b.T).clamp(min=0)


def _kernel(distances: Tensor, width: float, scales: Sequence[float]) -> Tensor:
    return sum((width * s / (width * s + distances) for s in scales), torch.zeros_like(distances))


def _mean_of_others(kernel: Tensor) -> Tensor:
    """Mean over pairs of two different draws."""
    n = len(kernel)
    return (kernel.sum() - kernel.diagonal().sum()) / (n * (n - 1))
