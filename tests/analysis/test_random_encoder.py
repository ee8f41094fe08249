import numpy as np
import pytest
import torch

from ae_lightning.analysis import random_encoder
from ae_lightning.analysis.baselines import mean_image_error, pca_error
from ae_lightning.analysis.random_encoder import random_encoder_error


def correlated(n, width=12, seed=0):
    """Samples far from zero, in the digits that float32 has, with fewer directions than features."""
    generator = np.random.default_rng(seed)
    mixing = np.random.default_rng(1).standard_normal((5, width))
    noise = 0.1 * generator.standard_normal((n, width))
    return (generator.standard_normal((n, 5)) @ mixing + noise + 3).astype(np.float32)


def lstsq_error(train, test, latent_dim, activation, seed=0):
    """The same by numpy's least squares, by singular values, with a column of ones for the bias."""
    train, test = (rows.reshape(len(rows), -1).astype(np.float64) for rows in (train, test))
    width = train.shape[1]
    weight = torch.empty(latent_dim, width, dtype=torch.float64)
    weight.uniform_(-1, 1, generator=torch.Generator().manual_seed(seed))
    weight = weight.numpy() / np.sqrt(width)

    def code(rows):
        z = (rows - train.mean(axis=0)) @ weight.T
        return np.hstack([z.clip(min=0) if activation == "relu" else z, np.ones((len(rows), 1))])

    decoder, *_ = np.linalg.lstsq(code(train), train, rcond=1e-7)
    return np.square(code(test) @ decoder - test).mean()


@pytest.mark.parametrize(
    ("latent_dim", "activation"),
    [(1, "relu"), (4, "none"), (4, "relu"), (30, "relu"), (100, "relu"), (12, "none"), (40, "none")],
)
def test_the_error_is_that_of_numpys_least_squares(latent_dim, activation):
    train, test = correlated(500), correlated(200, seed=2)
    expected = lstsq_error(train, test, latent_dim, activation)
    found = random_encoder_error(train, test, latent_dim, activation=activation)
    assert found == pytest.approx(expected, rel=1e-5, abs=1e-10)


def test_more_latents_than_samples_have_the_smallest_solution():
    train, test = correlated(40), correlated(200, seed=2)
    # numpy's smallest solution counts the bias as one more weight; centered, it is free.
    centered = train.astype(np.float64) - train.mean(axis=0, dtype=np.float64)
    weight = torch.empty(90, 12, dtype=torch.float64).uniform_(-1, 1, generator=torch.Generator().manual_seed(0))
    weight = weight.numpy() / np.sqrt(12)
    z = (centered @ weight.T).clip(min=0)
    decoder = np.linalg.pinv(z - z.mean(axis=0), rcond=1e-9) @ centered
    unseen = test - train.mean(axis=0, dtype=np.float64)
    decoded = ((unseen @ weight.T).clip(min=0) - z.mean(axis=0)) @ decoder
    assert random_encoder_error(train, test, 90) == pytest.approx(np.square(decoded - unseen).mean(), rel=1e-4)
    assert random_encoder_error(train, train, 90) < 1e-6


def test_the_seed_draws_the_weights_and_the_global_generator_is_left_alone():
    torch.manual_seed(0)
    state = torch.get_rng_state()
    train, test = correlated(300), correlated(100, seed=2)
    errors = [random_encoder_error(train, test, 6, seed=seed) for seed in (0, 0, 1)]
    assert errors[0] == errors[1] != errors[2]
    assert torch.equal(torch.get_rng_state(), state)


def test_as_many_linear_latents_as_features_lose_nothing_and_fewer_lose_more_than_pca():
    train, test = correlated(500), correlated(200, seed=2)
    assert random_encoder_error(train, test, 12, activation="none") < 1e-12
    assert random_encoder_error(train, train, 3, activation="none") > pca_error(train, train, 3)


def test_bytes_in_images_over_many_chunks_are_the_same_as_floats_at_once():
    x = np.random.default_rng(0).integers(0, 256, (18_000, 1, 3, 3), dtype=np.uint8)
    expected = lstsq_error(x[:9000], x[9000:], 15, "relu")
    assert random_encoder_error(x[:9000], torch.from_numpy(x[9000:]), 15) == pytest.approx(expected, rel=1e-5)


def test_a_large_set_is_fitted_on_a_part_of_it_drawn_at_random(monkeypatch):
    # Sorted: its first samples say nothing of the last.
    train, test = correlated(20_000), correlated(500, seed=2)
    train = train[np.argsort(train[:, 0])]
    whole = random_encoder_error(train, test, 20)
    monkeypatch.setattr(random_encoder, "_FIT_SAMPLES", 2000)
    part = random_encoder_error(train, test, 20)
    assert part != whole
    assert part == pytest.approx(whole, rel=0.05)


def test_samples_that_do_not_vary_are_answered_with_their_mean():
    train, test = np.full((20, 4), 2.0), np.arange(8.0).reshape(2, 4)
    assert random_encoder_error(train, test, 10) == pytest.approx(mean_image_error(train, test))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("place", [0, 1])
def test_samples_that_are_not_finite_are_refused(bad, place):
    sets = [np.ones((4, 3)), np.ones((4, 3))]
    sets[place][2, 1] = bad
    with pytest.raises(ValueError, match="finite"):
        random_encoder_error(*sets, 5)


@pytest.mark.parametrize(
    ("width", "latent_dim", "activation", "message"),
    [
        (4, 5, "relu", "3 features, but the others have 4"),
        (3, 0, "relu", "latent_dim"),
        (3, 5, "tanh", "relu, none, but is tanh"),
    ],
)
def test_what_does_not_fit_is_refused(width, latent_dim, activation, message):
    with pytest.raises(ValueError, match=message):
        random_encoder_error(np.ones((4, 3)), np.ones((4, width)), latent_dim, activation=activation)


@pytest.mark.mnist
def test_mnist_is_reconstructed_better_than_by_100_principal_components(mnist):
    error = random_encoder_error(mnist.train_x, mnist.test_x, 1024) / 255**2
    assert error == pytest.approx(0.0038, abs=1e-4)
    assert error < pca_error(mnist.train_x, mnist.test_x, 100) / 255**2
