"""Linear regression of a given rank is that of scikit-learn and of numpy, and PCA where the target is the sample."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LinearRegression

from ae_lightning.analysis.moments import Moments
from ae_lightning.analysis.regression import JointMoments, Regression

Array = NDArray[np.float64]


def samples(n: int = 500) -> tuple[Array, Array]:
    """x (n, 6) far from zero, and y (n, 4) with noise."""
    g = np.random.default_rng(0)
    x = g.normal(size=(n, 6)) @ g.normal(size=(6, 6)) + 1e4
    return x, (x - 1e4) @ g.normal(size=(6, 4)) + 3 * g.normal(size=(n, 4)) - 50


def fitted(x: Array, y: Array, rank: int) -> Regression:
    moments = JointMoments((), x.shape[1], y.shape[1])
    for start in range(0, len(x), 70):  # the last one smaller
        moments.add(torch.from_numpy(x[start : start + 70]), torch.from_numpy(y[start : start + 70]))
    return moments.regression(rank)


def test_without_a_limit_it_is_least_squares() -> None:
    x, y = samples()
    found = fitted(x, y, 10)
    assert found.vectors.shape == (4, 4)
    truth = LinearRegression().fit(x, y).predict(x)
    np.testing.assert_allclose(found.reconstruct(torch.from_numpy(x)).numpy(), truth, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("width", [4, 9])
@pytest.mark.parametrize("rank", [1, 2, 3])
def test_of_a_rank_it_is_least_squares_projected_on_its_leading_directions(rank: int, width: int) -> None:
    """Izenman's solution by numpy; also with more targets than inputs."""
    x, y = samples()
    y = y @ np.random.default_rng(1).normal(size=(4, width)) + np.random.default_rng(2).normal(size=(len(x), width))
    predicted = LinearRegression().fit(x, y).predict(x)
    rows = np.linalg.svd(predicted - y.mean(0), full_matrices=False)[2][:rank]
    truth = (predicted - y.mean(0)) @ rows.T @ rows + y.mean(0)
    found = fitted(x, y, rank).reconstruct(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(found, truth, rtol=1e-5, atol=1e-5)
    # None of as low a rank is better: an alternating fit from elsewhere comes to the same error.
    centered_x, centered_y = x - x.mean(0), y - y.mean(0)
    writing = np.random.default_rng(3).normal(size=(rank, width))
    for _ in range(300):
        code = centered_x @ np.linalg.lstsq(centered_x, centered_y @ np.linalg.pinv(writing), rcond=None)[0]
        writing = np.linalg.lstsq(code, centered_y, rcond=None)[0]
    best = np.square(centered_y - code @ writing).sum()
    assert np.square(y - found).sum() <= best * (1 + 1e-6)


def test_of_the_samples_themselves_it_is_pca() -> None:
    x, _ = samples()
    moments = Moments((6,))
    moments.add(torch.from_numpy(x))
    pca = moments.components(2).reconstruct(torch.from_numpy(x))
    torch.testing.assert_close(fitted(x, x, 2).reconstruct(torch.from_numpy(x)), pca, rtol=1e-7, atol=1e-5)


def test_samples_that_are_all_alike_predict_the_mean() -> None:
    _, y = samples()
    found = fitted(np.ones((500, 3)), y, 3).reconstruct(torch.ones(2, 3, dtype=torch.float64))
    np.testing.assert_allclose(found.numpy(), np.stack([y.mean(0)] * 2), rtol=1e-9)
