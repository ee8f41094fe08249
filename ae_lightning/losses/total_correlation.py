"""Total correlation of codes: how far their latents are from independent of each other, over all samples."""

import math

import torch
from torch import Tensor

from ae_lightning.nn.posterior import log_normal


def total_correlation(z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(q(z) ‖ Π q(z_j)) in nats, estimated from a batch: a scalar.

    The aggregate posterior q(z) is taken for the mean of the batch's posteriors, at a code drawn from each: mean over i
    of log 1/M Σ_n q(z_i|x_n) − Σ_j log 1/M Σ_n q(z_ij|x_n). Minibatch-weighted sampling, as Chen et al. name it, has
    N M in place of M for N training samples: it is larger by (latents − 1) log N, which has no gradient.

    A batch's codes are told apart better than those of all samples, so that the estimate depends on the batch's size;
    of several processes each takes its own batch.

    Args:
        z: Codes drawn from the posteriors (batch, latents).
        mean: Means of the posteriors (batch, latents).
        log_variance: Logarithms of their variances (batch, latents).

    Source: Chen et al. (2018), "Isolating Sources of Disentanglement", arXiv 1802.04942.
    """
    densities = log_normal(z[:, None], mean, log_variance)  # of code i under posterior n, in latent j
    together = torch.logsumexp(densities.sum(2), 1)
    apart = torch.logsumexp(densities, 1).sum(1)
    return (together - apart).mean() + (z.shape[1] - 1) * math.log(len(z))
