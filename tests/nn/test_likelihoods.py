"""Likelihoods against torch.distributions, and against integrals in one dimension."""

import math

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from torch import Tensor, distributions

from ae_lightning.errors import ConfigError
from ae_lightning.nn.likelihoods import LEAST_STD, Likelihood, likelihood_of

CONTINUOUS = ("gaussian", "learned_gaussian", "continuous_bernoulli")
#: Logits on both sides of where the series of the continuous Bernoulli ends, at 0 itself, and far out.
LOGITS = (-30.0, -4.0, -0.301, -0.299, -1e-3, 0.0, 1e-6, 0.2, 0.299, 0.301, 2.5, 30.0)


def truth_of(name: str, outputs: Tensor) -> distributions.Distribution:
    first, second = outputs[:, :1], outputs[:, 1:]
    if name == "bernoulli":
        return distributions.Bernoulli(logits=outputs, validate_args=False)  # gray pixels, too
    if name == "continuous_bernoulli":
        return distributions.ContinuousBernoulli(logits=outputs)
    if name == "gaussian":
        return distributions.Normal(outputs, 0.3)
    return distributions.Normal(first, (LEAST_STD**2 + (1 + second.exp()).log()).sqrt())


def outputs_of(found: Likelihood, rows: int = 5) -> Tensor:
    shape = (rows, found.outputs_per_pixel, 3, 4)
    return 2 * torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.mark.parametrize("name", ["bernoulli", *CONTINUOUS])
def test_densities_and_means_are_those_of_torch(name):
    found = likelihood_of(name, std=0.3)
    outputs = outputs_of(found)
    x = torch.rand(5, 1, 3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    truth = truth_of(name, outputs)
    torch.testing.assert_close(found.log_densities(outputs, x), truth.log_prob(x), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.log_density(outputs, x), truth.log_prob(x).sum((1, 2, 3)), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(found.mean(outputs), truth.mean, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("logit", LOGITS)
@pytest.mark.parametrize("name", ["bernoulli", *CONTINUOUS])
def test_probabilities_of_a_pixel_add_up_to_one_and_give_its_mean(name, logit):
    found = likelihood_of(name, std=0.3)
    outputs = torch.tensor([[logit, 0.5][: found.outputs_per_pixel]], dtype=torch.float64)

    def density(x: float) -> float:
        return math.exp(float(found.log_density(outputs, torch.tensor([[x]], dtype=torch.float64))))

    if name == "bernoulli":
        total, mean = density(0) + density(1), density(1)
    else:
        low, high = (0, 1) if found.is_bounded else (logit - 12, logit + 12)
        total = quad(density, low, high, points=[(low + high) / 2])[0]
        mean = quad(lambda x: x * density(x), low, high, points=[(low + high) / 2])[0]
    assert total == pytest.approx(1, abs=1e-5)
    assert mean == pytest.approx(float(found.mean(outputs)), abs=1e-5)


def test_float32_keeps_the_continuous_bernoulli_to_five_digits_across_its_series():
    found = likelihood_of("continuous_bernoulli")
    logits = torch.tensor(np.concatenate([LOGITS, np.linspace(-1, 1, 401)]))[:, None]
    x = torch.full_like(logits, 0.3)
    narrow = (found.log_densities(logits.float(), x.float()), found.mean(logits.float()))
    wide = (found.log_densities(logits, x), found.mean(logits))
    for ours, exact in zip(narrow, wide, strict=True):
        torch.testing.assert_close(ours.double(), exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("logit", LOGITS)
def test_the_gradient_of_the_continuous_bernoulli_is_the_sample_less_its_mean(logit):
    """It is an exponential family with the logit as its natural parameter."""
    found = likelihood_of("continuous_bernoulli")
    logits = torch.tensor([[logit]], requires_grad=True)
    found.log_density(logits, torch.tensor([[0.3]])).backward()
    assert float(logits.grad) == pytest.approx(0.3 - float(found.mean(logits.detach())), abs=1e-5)


def test_a_pixel_that_never_varies_has_no_density_without_bound():
    found = likelihood_of("learned_gaussian")
    density = found.log_density(torch.tensor([[0.0, -1e4]]), torch.zeros(1, 1))
    assert float(density) == pytest.approx(-math.log(LEAST_STD) - 0.5 * math.log(2 * math.pi))


def test_half_precision_is_summed_in_float32():
    found = likelihood_of("bernoulli")
    outputs, x = torch.full((1, 4096), 0.1, dtype=torch.bfloat16), torch.zeros(1, 4096, dtype=torch.bfloat16)
    density = found.log_density(outputs, x)
    assert density.dtype == torch.float32
    assert float(density) == pytest.approx(-4096 * math.log1p(math.exp(float(outputs[0, 0]))), rel=1e-5)


@pytest.mark.parametrize(
    ("name", "std", "said"),
    [("normal", 1.0, "--model.likelihood is 'normal'"), ("gaussian", 0.0, "--model.std is 0; .* above 0")],
)
def test_what_is_no_likelihood_is_refused(name, std, said):
    with pytest.raises(ConfigError, match=said):
        likelihood_of(name, std)
