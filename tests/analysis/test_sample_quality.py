"""Numbers of sample quality, against points that were counted by hand, closed forms, and plain loops."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch
from torch import Tensor

from ae_lightning.analysis import sample_quality
from ae_lightning.analysis.sample_quality import (
    frechet_distance,
    frechet_distance_of_normals,
    kernel_distance,
    neighborhoods,
)


def line(*places: float) -> Tensor:
    return torch.tensor(places)[:, None]


def draws(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def in_small_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample_quality, "_MOST_DISTANCES", 7)


@pytest.mark.usefixtures("in_small_pieces")
@pytest.mark.parametrize(
    ("real", "generated", "neighbors", "expected"),
    [
        # Radii 1, 1, 2 give the real balls [-1, 1], [0, 2], [1, 5], and 0.1, 0.1, 8.4 the generated ones.
        (line(0, 1, 3), line(0.5, 0.6, 9), 1, (2 / 3, 2 / 3, 4 / 3, 2 / 3)),
        # The same points: each ball holds two of them, since it is closed.
        (line(0, 1, 3), line(0, 1, 3), 1, (1, 1, 2, 1)),
        (line(0, 1, 3), line(100, 101, 103), 1, (0, 0, 0, 0)),
        # With two neighbors the balls are [-3, 3], [-1, 3], [0, 6], which hold -2 once, 5 once, and 2.5 three times.
        (line(0, 1, 3), line(-2, 5, 2.5), 2, (1, 1, 5 / 6, 1)),
        # One real point lies on another, with radius 0: its ball holds what lies right there.
        (line(0, 0, 4), line(0, 4.5, 9), 1, (2 / 3, 1, 4 / 3, 1)),
        # Radii 5 in the plane: (3, 0) is in both balls, (0, 9.1) is 9.1 and 5.9 away.
        (torch.tensor([[0.0, 0], [3, 4]]), torch.tensor([[3.0, 0], [0, 9.1]]), 1, (1 / 2, 1, 1, 1)),
    ],
)
def test_neighborhoods_are_those_counted_by_hand(real, generated, neighbors, expected):
    assert tuple(neighborhoods(real, generated, neighbors)) == pytest.approx(expected)


def test_samples_of_the_same_distribution_score_what_they_should():
    seeds, n, neighbors = 20, 200, 5
    pairs = [(draws(n, 2, seed=seed), draws(n, 2, seed=seed + 1000)) for seed in range(seeds)]
    scores = np.array([[*neighborhoods(*pair, neighbors), kernel_distance(*pair)] for pair in pairs])
    mean, error = scores.mean(axis=0), scores.std(axis=0, ddof=1) / math.sqrt(seeds)
    coverage = 1 - math.prod((n - j) / (2 * n - j) for j in range(1, neighbors + 1))
    assert (mean[:2] > 0.97).all()  # precision and recall
    for place, expected in ((2, 1.0), (3, coverage), (4, 0.0)):  # density, coverage, and the kernel distance
        assert abs(mean[place] - expected) < 3 * error[place]


def test_a_mode_that_is_left_out_lowers_recall_and_coverage_but_not_precision():
    two = draws(400, 3) + torch.tensor([20.0, 0, 0]) * (torch.arange(400) % 2)[:, None]
    one, whole = draws(400, 3, seed=1), draws(400, 3, seed=1) + (two - draws(400, 3))
    dropped, kept = neighborhoods(two, one), neighborhoods(two, whole)
    assert (dropped.precision, kept.precision) == pytest.approx((0.97, 0.97), abs=0.03)
    assert (dropped.recall, kept.recall) == pytest.approx((0.5, 0.97), abs=0.04)
    assert (dropped.coverage, kept.coverage) == pytest.approx((0.5, 0.97), abs=0.04)
    assert kernel_distance(two, one) > 100 * abs(kernel_distance(two, whole))


def test_noise_beside_the_data_lowers_precision_and_density_but_not_recall():
    data, good = draws(400, 3), draws(400, 3, seed=1)
    half = torch.where((torch.arange(400) % 2 == 0)[:, None], good, 30 * good + 100)
    scores = neighborhoods(data, half)
    assert (scores.precision, scores.density) == pytest.approx((0.49, 0.5), abs=0.05)
    assert scores.recall > 0.9


@pytest.mark.usefixtures("in_small_pieces")
def test_the_kernel_distance_is_that_of_a_double_loop():
    real, generated = draws(7, 3), 2 * draws(5, 3, seed=1) + 1

    def mean_kernel(x, y, skip):
        values = [
            (sum(a * b for a, b in zip(x[i], y[j], strict=True)) / 3 + 1) ** 3
            for i in range(len(x))
            for j in range(len(y))
            if not (skip and i == j)
        ]
        return sum(values) / len(values)

    x, y = real.tolist(), generated.tolist()
    expected = mean_kernel(x, x, True) + mean_kernel(y, y, True) - 2 * mean_kernel(x, y, False)
    assert kernel_distance(real, generated) == pytest.approx(expected, rel=1e-9)
    assert kernel_distance(real, real) < 0  # unbiased: the same points twice are nearer than two draws


def closed_form(mean, covariance, other_mean, other_covariance) -> float:
    root = scipy.linalg.sqrtm(covariance @ other_covariance)
    return float(np.square(mean - other_mean).sum() + np.trace(covariance + other_covariance - 2 * root.real))


def test_the_frechet_distance_is_its_closed_form():
    assert frechet_distance_of_normals(*(torch.tensor(x) for x in ([3.0], [[4.0]], [1.0], [[25.0]]))) == pytest.approx(
        (3 - 1) ** 2 + (2 - 5) ** 2
    )
    for seed in range(5):
        factors = draws(2, 6, 6, seed=seed).double()
        covariances = factors @ factors.mT
        means = draws(2, 6, seed=seed + 50).double()
        arguments = (means[0], covariances[0], means[1], covariances[1])
        expected = closed_form(*(x.numpy() for x in arguments))
        assert frechet_distance_of_normals(*arguments) == pytest.approx(expected, abs=1e-6)


def test_the_frechet_distance_of_features_takes_their_mean_and_covariance_in_either_precision():
    real, generated = 100 + draws(50, 4) @ draws(4, 4, seed=9), 100 + draws(30, 4, seed=1)
    x, y = real.double().numpy(), generated.double().numpy()
    expected = closed_form(x.mean(axis=0), np.cov(x.T), y.mean(axis=0), np.cov(y.T))
    assert frechet_distance(real, generated) == pytest.approx(expected, abs=1e-6)
    assert frechet_distance(real, real) == pytest.approx(0, abs=1e-6)
    few = torch.cat([draws(3, 4)] * 2)  # of rank 2: the covariance is singular
    assert frechet_distance(few, few + 1) == pytest.approx(4, abs=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: neighborhoods(draws(5, 2), draws(9, 2)), r"at least 6 real samples, but they are \(5, 2\)"),
        (lambda: neighborhoods(draws(9, 2), draws(5, 2)), r"at least 6 generated samples, but they are \(5, 2\)"),
        (lambda: neighborhoods(draws(9, 2), draws(9, 3)), "one width, but theirs are 2 and 3"),
        (lambda: kernel_distance(draws(9, 2), draws(1, 2)), "at least 2 generated"),
        (lambda: kernel_distance(draws(9, 2), torch.full((9, 2), torch.nan)), "generated samples are NaN"),
        (lambda: frechet_distance(draws(9), draws(9)), "width"),
    ],
)
def test_what_cannot_be_compared_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
