import numpy as np
import pytest
import torch

from ae_lightning.analysis.baselines import mean_image_error, pca_codes, pca_error


def test_mean_image_by_hand():
    train = np.array([[0.0, 2.0], [2.0, 4.0]])  # the mean is (1, 3)
    test = np.array([[1.0, 3.0], [4.0, 3.0]])  # squared errors 0, 0, 9, 0
    assert mean_image_error(train, test) == pytest.approx(9 / 4)
    assert pca_error(train, test, 0) == pytest.approx(9 / 4)


def test_pca_by_hand():
    # The training set varies along (1, 1) only, so a test point keeps its part along (1, -1) as error.
    train = np.array([[-1.0, -1.0], [1.0, 1.0], [2.0, 2.0], [-2.0, -2.0]])
    test = np.array([[3.0, 1.0]])
    assert pca_error(train, test, 1) == pytest.approx((1 + 1) / 2, abs=1e-5)
    assert abs(pca_codes(train, test, 1)[0, 0]) == pytest.approx(4 / np.sqrt(2), abs=1e-5)


def test_pca_as_wide_as_the_input_is_exact():
    x = torch.rand(300, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    assert pca_error(x[:200], x[200:], 16) < 1e-12
    assert pca_error(x[:200], x[200:], 1000) < 1e-12
    assert pca_codes(x[:200], x[200:], 1000).shape == (100, 16)


def test_bytes_and_many_chunks_give_the_same_error_as_floats_at_once():
    x = np.random.default_rng(0).integers(0, 256, (20_000, 6), dtype=np.uint8)
    whole = np.square(x[10_000:] - x[:10_000].mean(axis=0)).mean()
    assert mean_image_error(x[:10_000], x[10_000:]) == pytest.approx(whole, rel=1e-6)
    floats = x.astype(np.float64)
    assert pca_error(x[:10_000], x[10_000:], 3) == pytest.approx(
        pca_error(floats[:10_000], floats[10_000:], 3), rel=1e-5
    )


def test_sets_of_different_width_are_refused():
    with pytest.raises(ValueError, match="4 features, but the others have 5"):
        pca_error(np.ones((3, 4)), np.ones((3, 5)), 1)


def test_a_negative_width_is_refused():
    with pytest.raises(ValueError, match="n_components"):
        pca_error(np.ones((3, 4)), np.ones((3, 4)), -1)


@pytest.mark.mnist
@pytest.mark.parametrize(
    ("width", "expected"),
    [(0, 0.0675), (2, 0.0557), (8, 0.0374), (16, 0.0269), (32, 0.0168), (64, 0.0091), (128, 0.0042)],
)
def test_mnist_errors_are_the_known_ones(mnist, width, expected):
    # Bytes are fitted as they are: the error is in squared units.
    error = pca_error(mnist.train_x, mnist.test_x, width) / 255**2
    assert error == pytest.approx(expected, abs=6e-5)
