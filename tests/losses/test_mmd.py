"""The maximum mean discrepancy beside a plain double loop, and on distributions that are the same, or not."""

import math

import pytest
import torch

from ae_lightning.losses.mmd import SCALES, imq_mmd


def by_loops(z, p, variance=1.0):
    """Algorithm 2 of Tolstikhin et al. (2018), number for number."""
    width = 2 * len(z[0]) * variance

    def k(a, b):
        d = sum((i - j) ** 2 for i, j in zip(a, b, strict=True))
        return sum(width * s / (width * s + d) for s in (0.1, 0.2, 0.5, 1, 2, 5, 10))

    n = len(z)
    same = sum(k(z[i], z[j]) + k(p[i], p[j]) for i in range(n) for j in range(n) if i != j)
    return same / (n * (n - 1)) - 2 * sum(k(a, b) for a in z for b in p) / n**2


@pytest.mark.parametrize("variance", [1.0, 4.0])
def test_it_is_the_double_loop_of_the_paper(variance):
    generator = torch.Generator().manual_seed(0)
    z, p = (torch.randn(9, 3, generator=generator, dtype=torch.float64) for _ in range(2))
    truth = by_loops((z + 0.5).tolist(), p.tolist(), variance)
    assert float(imq_mmd(z + 0.5, p, variance)) == pytest.approx(truth, rel=1e-9)


def test_its_mean_is_zero_for_one_distribution_and_positive_for_two():
    generator = torch.Generator().manual_seed(0)

    def mean_and_error(shift):
        found = torch.stack(
            [
                imq_mmd(
                    torch.randn(40, 4, generator=generator) + shift,
                    torch.randn(40, 4, generator=generator),
                )
                for _ in range(400)
            ]
        )
        return float(found.mean()), float(found.std()) / math.sqrt(len(found))

    mean, error = mean_and_error(0.0)
    assert abs(mean) < 3 * error
    mean, error = mean_and_error(0.3)
    assert mean > 10 * error


def test_codes_far_from_the_prior_and_from_each_other_have_nothing_but_the_priors_own_kernel():
    p = torch.zeros(3, 2)
    z = torch.tensor([[1e6, 0.0], [0.0, 1e6], [-1e6, 0.0]])
    assert float(imq_mmd(z, p)) == pytest.approx(len(SCALES), abs=1e-4)


def test_the_gradient_draws_codes_to_the_prior():
    generator = torch.Generator().manual_seed(0)
    z = (torch.randn(64, 3, generator=generator) + 2).requires_grad_()
    imq_mmd(z, torch.randn(64, 3, generator=generator)).backward()
    assert bool((z.grad.mean(0) > 0).all())
    assert bool(z.grad.isfinite().all())


def test_half_precision_is_measured_in_float32():
    generator = torch.Generator().manual_seed(0)
    z, p = (torch.randn(8, 3, generator=generator).bfloat16() for _ in range(2))
    with torch.autocast("cpu", torch.bfloat16):
        found = imq_mmd(z, p)
    assert found.dtype == torch.float32
    assert float(found) == pytest.approx(by_loops(z.tolist(), p.tolist()), abs=1e-5)
