"""What samplers draw, against the moments of what they were fitted to, and of mixtures that were drawn by hand."""

import numpy as np
import pytest
import torch
from torch import Tensor

from ae_lightning.analysis.sampler_choice import chosen_sampler
from ae_lightning.analysis.sampler_names import SAMPLERS
from ae_lightning.analysis.samplers import Empirical, FittedNormal, GaussianMixture, Sampler, StandardNormal
from ae_lightning.errors import ConfigError


def _draws(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_standard_normal_has_mean_0_and_variance_1_and_no_correlations():
    draws = StandardNormal((2, 3)).draw(100_000).flatten(1).double().numpy()
    np.testing.assert_allclose(draws.mean(axis=0), 0, atol=0.02)
    np.testing.assert_allclose(np.cov(draws.T), np.eye(6), atol=0.02)


def test_draws_have_the_mean_and_the_covariance_of_the_codes():
    codes = _draws(40, 3) @ torch.tensor([[2.0, 0, 0], [1, 1, 0], [0, -0.5, 0.1]]) + torch.tensor([5.0, 0, -3])
    draws = FittedNormal(codes).draw(100_000).double().numpy()
    covariance = np.cov(codes.T)
    spread = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose((draws.mean(axis=0) - codes.numpy().mean(axis=0)) / spread, 0, atol=0.02)
    np.testing.assert_allclose((np.cov(draws.T) - covariance) / np.outer(spread, spread), 0, atol=0.02)
    assert len(np.unique(draws, axis=0)) == len(draws)


def test_draws_never_leave_the_span_of_the_codes():
    codes = _draws(4, 3, 4)
    draws = FittedNormal(codes).draw(50).flatten(1).numpy()
    centered = (codes - codes.mean(dim=0)).flatten(1).numpy()
    draws -= codes.mean(dim=0).flatten().numpy()
    weights = np.linalg.lstsq(centered.T, draws.T, rcond=None)[0]
    np.testing.assert_allclose(centered.T @ weights, draws.T, atol=1e-5)
    assert np.linalg.matrix_rank(draws, tol=1e-4) == 3


# Three far-apart components: weight, mean, and a matrix that a standard normal is multiplied by.
KNOWN = (
    (0.5, (0.0, 0.0), ((1.0, 0.0), (0.8, 0.6))),
    (0.3, (30.0, 0.0), ((0.2, 0.0), (0.0, 2.0))),
    (0.2, (0.0, 50.0), ((1.5, 0.0), (0.0, 0.5))),
)


def _mixture(n: int, unit: float = 1.0) -> Tensor:
    parts = [
        torch.tensor(mean) + _draws(int(weight * n), 2, seed=i) @ torch.tensor(factor).T
        for i, (weight, mean, factor) in enumerate(KNOWN)
    ]
    return unit * torch.cat(parts)


@pytest.mark.parametrize("unit", [1.0, 1e-5])
def test_a_mixture_finds_and_draws_known_components_in_any_unit(unit):
    draws = GaussianMixture(_mixture(6000, unit), components=3).draw(30_000).double().numpy() / unit
    centers = np.array([mean for _, mean, _ in KNOWN])
    nearest = np.linalg.norm(draws[:, None] - centers, axis=2).argmin(axis=1)
    for component, (weight, mean, factor) in enumerate(KNOWN):
        own = draws[nearest == component]
        assert len(own) / len(draws) == pytest.approx(weight, abs=0.01)
        np.testing.assert_allclose(own.mean(axis=0), mean, atol=0.15)
        np.testing.assert_allclose(np.cov(own.T), np.array(factor) @ np.array(factor).T, atol=0.2)
    assert len(set(nearest[:64].tolist())) == 3  # not one component after the other


def test_a_mixture_of_one_is_the_fitted_normal():
    codes = _draws(500, 3) @ torch.tensor([[2.0, 0, 0], [1, 1, 0], [0, -0.5, 0.1]]) + 4
    one = GaussianMixture(codes, 1).draw(50_000).double().numpy()
    np.testing.assert_allclose(one.mean(axis=0), codes.mean(dim=0), atol=0.05)
    np.testing.assert_allclose(np.cov(one.T), np.cov(codes.T), atol=0.1)


def test_empirical_draws_keep_each_latents_values_and_lose_their_company():
    codes = torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0], [1.0, 2.0]])
    draws = Empirical(codes).draw(20_000)
    assert set(draws[:, 0].unique().tolist()) == {0, 1}
    assert set(draws[:, 1].unique().tolist()) == {0, 2}
    assert (draws != 0).float().mean(0).tolist() == pytest.approx([0.25, 0.25], abs=0.01)
    assert (draws != 0).all(1).float().mean().item() == pytest.approx(1 / 16, abs=0.01)


def test_discrete_codes_are_drawn_by_the_frequencies_of_their_position():
    indices = torch.tensor([[[0, 7]], [[0, 7]], [[3, 7]], [[5, 9]]])
    draws = Empirical(indices).draw(20_000)
    assert draws.shape == (20_000, 1, 2)
    assert draws.dtype == torch.int64
    first = torch.bincount(draws[:, 0, 0], minlength=6) / 20_000
    assert first.tolist() == pytest.approx([0.5, 0, 0, 0.25, 0, 0.25], abs=0.015)
    assert (draws[:, 0, 1] == 7).float().mean().item() == pytest.approx(0.75, abs=0.015)


CODES = _draws(60, 1, 2, 2, seed=5)
ALL = [
    StandardNormal((1, 2, 2)),
    FittedNormal(CODES),
    GaussianMixture(CODES, 3),
    Empirical(CODES),
]


@pytest.mark.parametrize("sampler", ALL, ids=lambda sampler: type(sampler).__name__)
def test_a_seed_gives_its_draws_and_leaves_the_global_ones_alone(sampler: Sampler):
    state = torch.get_rng_state()
    first, again, other = sampler.draw(600, 1), sampler.draw(600, 1), sampler.draw(600, 2)
    assert first.shape == (600, 1, 2, 2)
    assert first.dtype == torch.float32
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(first[:512], sampler.draw(512, 1))
    with pytest.raises(ValueError, match="n must be at least 1, but is 0"):
        sampler.draw(0)


def test_two_fits_of_a_mixture_draw_the_same():
    assert torch.equal(GaussianMixture(CODES, 3).draw(50), GaussianMixture(CODES, 3).draw(50))


def choose(name: str, codes: Tensor = CODES, prior: Sampler | None = None, components: int = 3) -> Sampler:
    return chosen_sampler(name, "MyModel", prior, lambda: codes, not codes.is_floating_point(), components)


def test_each_name_is_that_of_a_sampler():
    prior = StandardNormal((2,))
    assert choose("prior", prior=prior) is prior
    assert type(choose("empirical", torch.ones(3, 2, dtype=torch.int64))) is Empirical
    kinds = {"normal": FittedNormal, "gmm": GaussianMixture, "empirical": Empirical}
    assert {name: type(choose(name, prior=prior)) for name in kinds} == kinds
    assert tuple(SAMPLERS) == ("prior", *kinds)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: choose("gm"), "there is no sampler gm; did you mean gmm?"),
        (lambda: choose("flow"), "there is no sampler flow; there are prior, normal, gmm, empirical"),
        (
            lambda: choose("prior"),
            "MyModel has no prior to draw codes from; choose the sampler normal, gmm or empirical",
        ),
        (
            lambda: choose("normal", torch.ones(3, 2, dtype=torch.int64)),
            "MyModel has discrete codes, to which the sampler normal cannot be fitted; choose empirical",
        ),
        (
            lambda: choose("gmm", components=61),
            "the sampler gmm cannot be fitted: a mixture of 61 Gaussians needs as many codes, but there are 60",
        ),
        (
            lambda: choose("gmm", torch.zeros(5, 64, 3, 3)),
            "the sampler gmm cannot be fitted: a code of 64×3×3 = 576 numbers is too large for full covariances, which "
            "take at most 256 numbers",
        ),
        (
            lambda: choose("normal", torch.zeros(1, 3)),
            "the sampler normal cannot be fitted: at least 2 codes are needed to say how codes vary, but there is 1",
        ),
        (
            lambda: choose("empirical", torch.full((3, 2), torch.nan)),
            "the sampler empirical cannot be fitted: codes must be finite, but some are NaN or infinite",
        ),
    ],
)
def test_what_cannot_be_drawn_is_one_sentence(call, message):
    with pytest.raises(ConfigError) as error:
        call()
    assert str(error.value) == message
