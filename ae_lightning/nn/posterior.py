"""Gaussian posteriors q(z|x) of codes, beside the standard normal prior: sampling, densities and the KL divergence."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from ae_lightning.nn.precision import at_least_float32

_LOG_2_PI = math.log(2 * math.pi)


class Posterior(NamedTuple):
    """A normal distribution with a mean and a variance of each latent, for each sample of a batch.

    Both are (batch, *code_shape), in float32 or wider.
    """

    mean: Tensor
    log_variance: Tensor

    @classmethod
    def of(cls, numbers: Tensor) -> "Posterior":
        """The one that an encoder's outputs (batch, 2 × channels, …) say: means and, after them, log variances."""
        mean, log_variance = at_least_float32(numbers).chunk(2, 1)
        return cls(mean, log_variance)

    def sample(self, noise: Tensor) -> Tensor:
        """μ + σ · noise: codes of the shape of the noise, (…, batch, *code_shape).

        Source: Kingma and Welling (2014), "Auto-Encoding Variational Bayes", arXiv 1312.6114.
        """
        return self.mean + (0.5 * self.log_variance).exp() * noise

    def divergences(self) -> Tensor:
        """KL(q‖p) of each latent in nats, (batch, latents): ½ (μ² + σ² − 1 − log σ²)."""
        kl = 0.5 * (self.mean.square() + self.log_variance.exp() - 1 - self.log_variance)
        return kl.flatten(1)

    def log_ratio(self, z: Tensor, noise: Tensor) -> Tensor:
        """Log p(z) − log q(z|x) in nats, (…, batch), of codes that `sample` made of this noise.

        Args:
            z: Codes (…, batch, *code_shape).
            noise: The noise, shaped as z.
        """
        ratios = 0.5 * (noise.square() + self.log_variance - z.square())
        return ratios.flatten(z.ndim - self.mean.ndim + 1).sum(-1)


def log_normal(z: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Logarithm of a normal density in nats, elementwise with broadcasting."""
    return -0.5 * (_LOG_2_PI + log_variance + (z - mean).square() * (-log_variance).exp())


def importance_bound(log_weights: Tensor) -> Tensor:
    """Log 1/k Σ w, (batch,), of log weights (k, batch): on average a lower bound on log p(x) that rises with k.

    Source: Burda, Grosse and Salakhutdinov (2015), "Importance Weighted Autoencoders", arXiv 1509.00519.
    """
    return torch.logsumexp(log_weights, 0) - math.log(len(log_weights))
