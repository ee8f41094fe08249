"""Total correlation against the paper's formula, in plain loops."""

import math

import pytest
import torch
from torch.distributions import Normal

from ae_lightning.losses.total_correlation import total_correlation


def by_the_paper(z, mean, log_variance, samples):
    """log q(z) − Σ_j log q(z_j) with both as minibatch-weighted sampling has them, for a set of so many samples."""
    batch, latents = z.shape
    total = 0.0
    for i in range(batch):
        together, apart = 0.0, [0.0] * latents
        for n in range(batch):
            q = Normal(mean[n], (0.5 * log_variance[n]).exp())
            densities = q.log_prob(z[i]).exp()
            together += float(densities.prod()) / (samples * batch)
            apart = [sum_ + float(density) / (samples * batch) for sum_, density in zip(apart, densities, strict=True)]
        total += math.log(together) - sum(map(math.log, apart))
    return total / batch


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(3, 6, 4, generator=generator, dtype=torch.float64)


def test_it_is_the_formula_but_for_a_constant(batch):
    ours = float(total_correlation(*batch))
    assert ours == pytest.approx(by_the_paper(*batch, samples=1), abs=1e-9)
    assert ours == pytest.approx(by_the_paper(*batch, samples=1000) - 3 * math.log(1000), abs=1e-9)


def test_it_is_zero_where_all_posteriors_are_one(batch):
    z, mean, log_variance = batch
    assert float(total_correlation(z, mean[:1].expand(6, 4), log_variance[:1].expand(6, 4))) == pytest.approx(
        0, abs=1e-9
    )


def test_latents_that_say_the_same_are_told_from_independent_ones():
    """Two normal latents with correlation ρ have −½ log(1 − ρ²)."""
    generator = torch.Generator().manual_seed(0)
    means = torch.randn(1500, 2, generator=generator)
    noise = 0.5 * torch.randn(1500, 2, generator=generator)
    log_variance = torch.full((1500, 2), 2 * math.log(0.5))
    independent = float(total_correlation(means + noise, means, log_variance))
    same = means[:, :1].expand(-1, 2)
    rho = 1 / 1.25
    assert independent == pytest.approx(0, abs=0.05)
    assert float(total_correlation(same + noise, same, log_variance)) == pytest.approx(
        -0.5 * math.log(1 - rho**2), abs=0.1
    )
