import math
import random
import subprocess
import sys
import warnings

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression

from ae_lightning.analysis.probing import linear_probe


def _blobs(n: int, seed: int, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    centers = np.random.default_rng(7).standard_normal((4, 20))
    labels = rng.integers(0, 4, n)
    return centers[labels] + noise * rng.standard_normal((n, 20)), labels


def test_separable_classes_are_read_off_without_error():
    result = linear_probe(*_blobs(200, 0, noise=0.01), *_blobs(80, 1, noise=0.01))
    assert (result.accuracy, result.standard_error) == (1.0, 0.0)
    assert (result.n_train, result.n_test, result.converged) == (200, 80, True)


def test_accuracy_is_that_of_scikit_learn_and_its_error_is_binomial():
    (train_x, train_y), (test_x, test_y) = _blobs(600, 0, noise=1.5), _blobs(500, 1, noise=1.5)
    scale = np.sqrt(np.mean((train_x - train_x.mean(axis=0)) ** 2))
    reference = LogisticRegression(tol=1e-8, C=0.01).fit(train_x / scale, train_y).score(test_x / scale, test_y)
    result = linear_probe(train_x, train_y, test_x, test_y, pca_components=None, C=0.01)
    assert 0.6 < reference < 0.99
    assert result.accuracy == pytest.approx(reference, abs=0.0021)
    assert result.standard_error == pytest.approx(math.sqrt(result.accuracy * (1 - result.accuracy) / 500))


def test_labels_drawn_at_random_cannot_be_read():
    rng = np.random.default_rng(0)
    train_x, test_x = rng.standard_normal((1000, 8)), rng.standard_normal((1000, 8))
    result = linear_probe(train_x, rng.integers(0, 2, 1000), test_x, rng.integers(0, 2, 1000))
    assert abs(result.accuracy - 0.5) < 4 * result.standard_error


def test_components_are_fitted_on_the_training_set_only():
    # The strongest direction of the training set tells nothing; the test set must not bring in the other one.
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 400)
    train = np.stack([10 * rng.standard_normal(400), labels - 0.5], axis=1)
    test = np.stack([rng.standard_normal(400), 100 * (labels - 0.5)], axis=1)
    assert linear_probe(train, labels, test, labels, pca_components=1).accuracy < 0.7
    assert linear_probe(train, labels, test, labels, pca_components=2).accuracy == 1.0


@pytest.mark.parametrize("scale", [1e-4, 1e4])
@pytest.mark.parametrize("components", [5, None])
def test_the_scale_of_a_code_does_not_matter(scale, components):
    (train_x, train_y), (test_x, test_y) = _blobs(300, 0), _blobs(300, 1)
    plain = linear_probe(train_x, train_y, test_x, test_y, pca_components=components)
    scaled = linear_probe(train_x * scale, train_y, test_x * scale, test_y, pca_components=components)
    assert scaled.accuracy == pytest.approx(plain.accuracy, abs=0.004)


def _draw_from_each_generator() -> tuple[float, float, float]:
    return random.random(), np.random.random(), torch.rand(()).item()  # noqa: NPY002


def test_the_same_data_give_the_same_result_and_leave_random_numbers_alone():
    arguments = (*_blobs(300, 0), *_blobs(300, 1))
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - scikit-learn falls back on the legacy generator
    torch.manual_seed(0)
    expected = _draw_from_each_generator()
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002
    torch.manual_seed(0)
    assert linear_probe(*arguments) == linear_probe(*arguments)
    assert _draw_from_each_generator() == expected


def test_images_as_tensors_are_flattened_and_left_as_they_were():
    (train_x, train_y), (test_x, test_y) = _blobs(200, 0), _blobs(100, 1)
    images = torch.tensor(train_x, dtype=torch.float32).reshape(200, 1, 4, 5).requires_grad_()
    copy = images.detach().clone()
    as_tensors = linear_probe(images, torch.tensor(train_y), torch.tensor(test_x), torch.tensor(test_y))
    as_arrays = linear_probe(train_x, train_y, test_x, test_y)
    assert as_tensors.accuracy == pytest.approx(as_arrays.accuracy, abs=0.011)
    assert torch.equal(images, copy)


def test_a_fit_that_does_not_converge_says_so_without_a_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = linear_probe(*_blobs(200, 0), *_blobs(100, 1), max_iter=1)
    assert not result.converged


def test_a_dead_code_scores_as_the_most_frequent_class():
    train_y, test_y = np.array([0] * 30 + [1] * 10), np.array([0] * 7 + [1] * 3)
    result = linear_probe(np.zeros((40, 6)), train_y, np.zeros((10, 6)), test_y)
    assert result.accuracy == pytest.approx(0.7)


X, Y = np.eye(4), np.array([0, 1, 0, 1])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((X, np.zeros(4), X, Y), "one class|only one"),
        ((X, Y[:3], X, Y), "training set has 4 samples"),
        ((X, Y, X, Y[:3]), "test set has 4 samples"),
        ((X, Y, X[:, :3], Y), "width 4, but test features have 3"),
        ((X[:0], Y[:0], X, Y), "n > 0"),
        ((X, Y, X * np.nan, Y), "test set are NaN"),
    ],
)
def test_what_cannot_be_probed_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        linear_probe(*arguments)


def test_importing_the_room_imports_neither_scikit_learn_nor_lightning():
    code = (
        "import sys, ae_lightning.analysis.spectrum, ae_lightning.analysis.probing, "
        "ae_lightning.analysis.baselines; "
        "print(sorted({'sklearn', 'lightning'} & set(sys.modules)))"
    )
    answer = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert answer.stdout.strip() == "[]"


def test_without_the_division_the_penalty_is_scikit_learn_s_on_the_features_as_they_are():
    (train_x, train_y), (test_x, test_y) = _blobs(600, 0, noise=1.5), _blobs(500, 1, noise=1.5)
    train_x, test_x = 0.002 * train_x, 0.002 * test_x
    mean = train_x.mean(axis=0)
    reference = LogisticRegression(tol=1e-8).fit(train_x - mean, train_y).score(test_x - mean, test_y)
    plain = linear_probe(train_x, train_y, test_x, test_y, pca_components=None, scaled=False).accuracy
    assert plain == pytest.approx(reference, abs=0.0021)
    assert abs(plain - linear_probe(train_x, train_y, test_x, test_y, pca_components=None).accuracy) > 0.02


@pytest.mark.mnist
@pytest.mark.parametrize("scaled", [True, False])
def test_raw_pixels_score_as_in_the_overcomplete_experiment(scaled, mnist):
    pixels = (mnist.train_x[:6000].astype(np.float32) / 255 - 0.1307) / 0.3081
    labels = mnist.train_y[:6000]
    result = linear_probe(pixels[:5000], labels[:5000], pixels[5000:], labels[5000:], scaled=scaled)
    # Without the division it differs by the components alone, which scikit-learn draws.
    assert result.accuracy == pytest.approx(0.898, abs=0.01 if scaled else 0.0015)
    assert result.standard_error == pytest.approx(0.0095, abs=0.0003)
    assert result.converged
