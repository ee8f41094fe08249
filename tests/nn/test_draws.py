"""Random numbers of samples: what they are distributed like, and what they depend on."""

import math

import pytest
import torch
from scipy import stats

from ae_lightning.nn.draws import SampleDraws, StreamDraws

X = torch.rand(400, 12, generator=torch.Generator().manual_seed(1))


def kinds():
    return [SampleDraws(X, 0), StreamDraws(X, torch.Generator().manual_seed(0))]


@pytest.mark.parametrize("kind", [0, 1])
def test_they_are_distributed_as_they_say(kind):
    draws = kinds()[kind]
    uniform, normal, signs = draws.uniform(50), draws.normal(5, 10), draws.signs(50)
    assert stats.kstest(uniform.flatten().numpy(), "uniform").pvalue > 0.01
    assert stats.kstest(normal.flatten().numpy(), "norm").pvalue > 0.01
    assert normal.shape == (400, 5, 10)
    assert {*signs.flatten().tolist()} == {-1, 1}
    assert float(signs.mean()) == pytest.approx(0, abs=3 / math.sqrt(signs.numel()))
    assert bool(((uniform >= 0) & (uniform < 1)).all())


@pytest.mark.parametrize("kind", [0, 1])
def test_samples_entries_and_calls_are_independent(kind):
    draws = kinds()[kind]
    first, second = draws.normal(50), draws.normal(50)
    columns = torch.cat([first, second], 1)
    # Off the diagonal a correlation of n independent normals has a standard error of 1/√n.
    among_entries = torch.corrcoef(columns.T) - torch.eye(100)
    among_samples = torch.corrcoef(first) - torch.eye(400)
    assert float(among_entries.square().mean()) == pytest.approx(1 / 400, rel=0.1)
    assert float(among_samples.square().mean()) == pytest.approx(1 / 50, rel=0.1)


def test_neighboring_samples_and_seeds_have_nothing_in_common():
    """One entry differs by a hundredth; one seed by 1."""
    near = X.clone()
    near[:, 0] *= 1.01
    one = SampleDraws(X, 0).uniform(64).flatten()
    for other in (SampleDraws(near, 0), SampleDraws(X, 1), SampleDraws(X.flip(1), 0)):
        correlation = torch.corrcoef(torch.stack([one, other.uniform(64).flatten()]))[0, 1]
        assert float(correlation) == pytest.approx(0, abs=4 / math.sqrt(len(one)))


def test_a_samples_numbers_depend_on_it_and_the_seed_alone():
    whole = SampleDraws(X, 3).normal(7)
    order = torch.randperm(400, generator=torch.Generator().manual_seed(0))
    assert torch.equal(SampleDraws(X[order], 3).normal(7), whole[order])
    parts = [SampleDraws(part, 3).normal(7) for part in X.split(33)]
    assert torch.equal(torch.cat(parts), whole)
    for format in (torch.float64, torch.bfloat16):
        assert torch.equal(SampleDraws(X.to(format).reshape(400, 3, 4), 3).normal(7), whole)
    zeros = torch.zeros(2, 3)
    assert torch.equal(SampleDraws(zeros, 0).uniform(), SampleDraws(-zeros, 0).uniform())


def test_the_global_random_state_is_left_alone():
    before = torch.get_rng_state()
    SampleDraws(X, 0).normal(3)
    StreamDraws(X, torch.Generator()).normal(3)
    assert torch.equal(torch.get_rng_state(), before)
