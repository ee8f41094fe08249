"""Gaussian posteriors against torch.distributions, and against integrals in one dimension."""

import math

import pytest
import torch
from scipy.integrate import quad
from torch import Tensor
from torch.distributions import Normal, kl_divergence

from ae_lightning.nn.posterior import Posterior, importance_bound, log_normal

PRIOR = Normal(torch.tensor(0.0, dtype=torch.float64), torch.tensor(1.0, dtype=torch.float64))


@pytest.fixture
def numbers() -> Tensor:
    """What an encoder gives for five samples of a code of 3×2×2."""
    return torch.randn(5, 6, 2, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture
def truth(numbers: Tensor) -> Normal:
    """Means in the first half of the channels, log variances in the second."""
    return Normal(numbers[:, :3], (0.5 * numbers[:, 3:]).exp())


def test_the_divergence_is_that_of_torch(numbers, truth):
    ours = Posterior.of(numbers).divergences()
    torch.testing.assert_close(ours, kl_divergence(truth, PRIOR).flatten(1), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("mean", "log_variance"), [(0.0, 0.0), (1.5, -2.0), (-0.3, 1.2)])
def test_the_divergence_is_the_integral(mean, log_variance):
    q = Normal(mean, math.exp(0.5 * log_variance))

    def integrand(z: float) -> float:
        at = torch.tensor(z, dtype=torch.float64)
        return float(q.log_prob(at).exp() * (q.log_prob(at) - PRIOR.log_prob(at)))

    ours = Posterior(torch.tensor([[mean]]), torch.tensor([[log_variance]])).divergences()
    assert float(ours) == pytest.approx(quad(integrand, -15, 15, points=[mean])[0], abs=1e-5)


def test_codes_and_their_ratio_are_those_of_the_densities(numbers, truth):
    noise = torch.randn(7, 5, 3, 2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    posterior = Posterior.of(numbers)
    z = posterior.sample(noise)
    torch.testing.assert_close(z, truth.mean + truth.stddev * noise)
    ratio = (PRIOR.log_prob(z) - truth.log_prob(z)).sum((2, 3, 4))
    torch.testing.assert_close(posterior.log_ratio(z, noise), ratio)
    torch.testing.assert_close(log_normal(z, posterior.mean, posterior.log_variance), truth.log_prob(z))


def test_half_precision_is_widened():
    assert Posterior.of(torch.zeros(2, 4, dtype=torch.bfloat16)).divergences().dtype == torch.float32


def test_the_bound_is_the_logarithm_of_the_mean_weight():
    weights = torch.tensor([[1.0, 5.0], [3.0, 1.0]], dtype=torch.float64)
    expected = torch.tensor([2.0, 3.0], dtype=torch.float64).log()
    torch.testing.assert_close(importance_bound(weights.log()), expected)
    torch.testing.assert_close(importance_bound(weights.log() - 2000), expected - 2000)
