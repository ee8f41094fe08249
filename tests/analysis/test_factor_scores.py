"""Scores of codes on known factors, beside values by hand, scikit-learn, and codes whose score is known."""

import math

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score, mutual_info_score

from ae_lightning.analysis.factor_importance import completeness, disentanglement, read_factors
from ae_lightning.analysis.factor_information import (
    attribute_scores,
    entropies,
    mutual_information,
    mutual_information_gap,
    separated_attribute_predictability,
    varying_latents,
)
from ae_lightning.analysis.factor_score_names import SCORES
from ae_lightning.analysis.factor_scores import FactorScores, factor_scores
from ae_lightning.analysis.factor_votes import factor_vae_score

SIZES = (3, 5, 8, 10)
ORDERED = [False, True, True, True]
SAMPLES = 3000


def factors_of(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(SIZES, size=(SAMPLES, len(SIZES)))


def scored(codes: np.ndarray, factors: np.ndarray, seed: int = 0) -> dict[str, float]:
    return factor_scores(codes, factors, ORDERED, seed).overall


def standardized(factors: np.ndarray) -> np.ndarray:
    return (factors - factors.mean(axis=0)) / factors.std(axis=0)


def rotation(seed: int, size: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))[0]


@pytest.mark.parametrize("seed", range(3))
def test_the_factors_themselves_score_one(seed: int) -> None:
    draw, factors = np.random.default_rng(seed), factors_of(seed)
    codes = factors[:, draw.permutation(4)] * draw.uniform(0.01, 100, 4) * draw.choice([-1, 1], 4) + draw.normal(size=4)
    found = scored(codes, factors, seed)
    bias = np.mean([19 * (size - 1) / (2 * SAMPLES) / math.log(size) for size in SIZES])
    assert 1 - 2 * bias < found["mig"] <= 1
    assert found["sap"] == pytest.approx(1, abs=0.03)
    assert [found[name] for name in SCORES[2:]] == [1, 1, 1, 1]


@pytest.mark.parametrize("seed", range(3))
def test_a_code_that_knows_nothing_scores_chance(seed: int) -> None:
    found = scored(np.random.default_rng(seed).normal(size=(SAMPLES, 6)), factors_of(seed + 10), seed)
    assert found["mig"] < 0.01
    assert found["sap"] < 0.03
    assert found["dci_disentanglement"] < 0.03
    assert found["dci_completeness"] < 0.03
    assert found["dci_informativeness"] == pytest.approx(np.mean([1 / size for size in SIZES]), abs=0.03)
    assert found["factor_vae"] == pytest.approx(1 / 4, abs=0.06)


@pytest.mark.parametrize("seed", range(3))
def test_a_rotated_code_lies_between_though_it_tells_all(seed: int) -> None:
    factors = factors_of(seed)
    found = scored(standardized(factors) @ rotation(seed, 4), factors, seed)
    for name in ("mig", "sap", "dci_disentanglement", "dci_completeness"):
        assert 0.02 < found[name] < 0.7, name
    assert found["dci_informativeness"] > 0.6


def test_latents_that_are_constant_count_for_nothing() -> None:
    factors = factors_of(0)
    codes = standardized(factors) @ rotation(1, 4)
    constant = np.full((SAMPLES, 2), 7.25) + np.array([1e-8, 0]) * np.arange(SAMPLES)[:, None] / SAMPLES
    assert varying_latents(np.concatenate([constant, codes], axis=1)).tolist() == [2, 3, 4, 5]
    assert scored(np.concatenate([constant, codes], axis=1), factors) == scored(codes, factors)


def test_a_code_that_is_constant_scores_nothing() -> None:
    found = scored(np.ones((SAMPLES, 3)), factors_of(0))
    assert found["varying_latents"] == 0
    assert [found[name] for name in ("mig", "sap", "dci_disentanglement")] == [0, 0, 0]
    assert found["factor_vae"] == 1 / 4


def test_a_code_of_one_latent_has_no_completeness() -> None:
    factors = factors_of(0)
    found = scored(factors[:, 2:3] * 1.0, factors)
    assert math.isnan(found["dci_completeness"])
    assert found["mig"] == pytest.approx(1 / 4, abs=0.01)


def test_a_factor_that_does_not_vary_is_left_out() -> None:
    factors = factors_of(0)
    factors[:, 1] = 3
    found = factor_scores(factors * 1.0, factors, ORDERED)
    assert found.factors == [0, 2, 3]
    assert found.overall["factor_vae"] == 1
    assert {name: column.shape for name, column in found.each.items()} == dict.fromkeys(found.each, (3,))


def test_a_code_that_is_not_finite_has_no_scores() -> None:
    codes = np.ones((SAMPLES, 2))
    codes[7, 1] = np.inf
    found: FactorScores = factor_scores(codes, factors_of(0), ORDERED)
    assert all(math.isnan(found.overall[name]) for name in SCORES)


@pytest.mark.parametrize(("samples", "factors", "words"), [(99, 2, "at least 100 samples"), (200, 1, "two that vary")])
def test_what_is_too_little_is_refused(samples: int, factors: int, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        factor_scores(np.ones((samples, 2)), np.arange(samples)[:, None] % np.array([2] * factors), [True] * factors)


def test_mutual_information_is_that_of_scikit_learn() -> None:
    draw = np.random.default_rng(0)
    factors = draw.integers(6, size=(500, 2))
    codes = np.stack([factors[:, 0] + draw.normal(size=500), draw.exponential(size=500)], axis=1)
    found = mutual_information(codes, factors)
    for latent, factor in np.ndindex(2, 2):
        edges = np.linspace(codes[:, latent].min(), codes[:, latent].max(), 21)[1:-1]
        truth = mutual_info_score(np.digitize(codes[:, latent], edges), factors[:, factor])
        assert found[latent, factor] == pytest.approx(truth, abs=1e-9)
    counts = np.bincount(factors[:, 0]) / 500
    assert entropies(factors)[0] == pytest.approx(-(counts * np.log(counts)).sum())


def test_a_factor_of_many_values_gets_as_many_bins() -> None:
    values = np.arange(400)[:, None] % 50
    assert mutual_information(values * 0.3, values)[0, 0] == pytest.approx(math.log(50))


def test_the_gap_by_hand() -> None:
    """z₀ is v₀, z₁ is v₀ in half of the samples: MIG of v₀ is 1 minus what z₁ tells of it."""
    v = np.array([0, 0, 0, 0, 1, 1, 1, 1])
    z = np.stack([v, np.array([0, 0, 0, 1, 1, 1, 1, 0])], axis=1) * 1.0
    known = math.log(2) + (0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    gap = mutual_information_gap(mutual_information(z, v[:, None]), entropies(v[:, None]))
    assert gap == pytest.approx([1 - known / math.log(2)])


def test_attribute_scores_by_hand() -> None:
    """The correlation of (0, 1, 2, 3) with (0, 0, 1, 1) is 2/√5; a threshold tells three of four right."""
    z = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 0.0], [3.0, 1.0]])
    v = np.array([[0], [0], [1], [1]])
    assert attribute_scores(z, v, [True])[:, 0] == pytest.approx([0.8, 0])
    assert attribute_scores(z, v, [False])[:, 0] == pytest.approx([1, 0])
    assert separated_attribute_predictability(np.array([[0.8, 0.1], [0.3, 0.6], [0.2, 0.5]])) == pytest.approx(
        [0.5, 0.1]
    )


def test_accuracy_of_thresholds_is_balanced_and_measured_from_chance() -> None:
    z = np.array([0.0] * 60 + [10.0] * 40)
    v = np.array([0] * 50 + [1] * 10 + [1] * 30 + [2] * 10)
    guess = np.where(z == 0, 0, 2)  # 50/50 of the first, 10/40 of the second; 10/10 of the third, 30/40 of the second
    truth = balanced_accuracy_score(v, guess)
    assert attribute_scores(z[:, None], v[:, None], [False])[0, 0] == pytest.approx((truth - 1 / 3) / (1 - 1 / 3))


def test_disentanglement_and_completeness_by_hand() -> None:
    """H₂(3/4, 1/4) is 0.8113 of a bit; the second latent matters twice as much as the first."""
    importance = np.array([[0.5, 0.0], [0.25, 0.75], [0.25, 0.25]])
    assert disentanglement(importance) == pytest.approx((0.5 * 1 + 1.0 * (1 - 0.8112781) + 0.5 * 0) / 2)
    of_first, of_second = 1.5 * math.log(2), -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert completeness(importance) == pytest.approx([1 - of_first / math.log(3), 1 - of_second / math.log(3)])
    assert disentanglement(np.eye(3)) == 1
    assert disentanglement(np.ones((4, 3))) == pytest.approx(0)


def test_of_wide_codes_the_latents_that_tell_most_are_read() -> None:
    draw = np.random.default_rng(0)
    factors = draw.integers(4, size=(1000, 2))
    codes = draw.normal(size=(1000, 100))
    codes[:, [90, 7]] = factors
    reading = read_factors(codes, factors, mutual_information(codes, factors))
    assert reading.importance[90].tolist() == [1, 0]
    assert reading.importance[7].tolist() == [0, 1]
    assert reading.accuracy.tolist() == [1, 1]


def test_two_factors_that_are_mixed_evenly_cannot_be_told_by_the_vote() -> None:
    """With v₀ fixed, v₀ + v₁ and v₀ − v₁ both vary as v₁ does: which varies less is chance."""
    v = np.random.default_rng(0).integers(6, size=(2000, 2))
    mixed = np.stack([v[:, 0] + v[:, 1], v[:, 0] - v[:, 1]], axis=1) * np.array([1.0, 50.0])
    assert factor_vae_score(mixed, v) == pytest.approx(1 / 2, abs=0.06)
    assert factor_vae_score(v * np.array([3.0, 0.02]), v) == 1
