import math
from typing import get_args

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from ae_lightning.errors import ConfigError
from ae_lightning.nn.scaling import AffineScaling, InputScalingName, Whitening, make_scaling

NAMES = get_args(InputScalingName)
FITTED = [name for name in NAMES if name not in ("none", "standardized")]


def data(seed: int = 0, n: int = 400, d: int = 6, offset: float = 50.0, dtype=torch.float64) -> torch.Tensor:
    """Correlated samples whose spread is about 2, far from zero."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.eye(d) + 0.5 * torch.randn(d, d, generator=generator)
    return (2 * torch.randn(n, d, generator=generator) @ mixing + offset).to(dtype)


def scaled(name: str, x: torch.Tensor, lead: tuple[int, ...] = ()) -> torch.Tensor:
    scaling = make_scaling(name, x.shape[-1], lead).double()
    scaling.fit(x)
    return scaling(x)


def test_each_scaling_makes_of_the_data_what_its_name_says():
    x = data()
    norms = {name: scaled(name, x).norm(dim=-1).numpy() for name in FITTED}
    assert norms["mean_norm"].mean() == pytest.approx(math.sqrt(6))
    assert (norms["mean_square"] ** 2).mean() == pytest.approx(1)
    assert norms["centered_mean_norm"].mean() == pytest.approx(math.sqrt(6))
    assert (norms["centered_mean_square"] ** 2).mean() == pytest.approx(1)
    for name in ("centered", "centered_mean_norm", "centered_mean_square", "whitened"):
        np.testing.assert_allclose(scaled(name, x).mean(0), np.zeros(6), atol=1e-12)
    np.testing.assert_allclose(scaled("centered", x), x - x.mean(0), atol=1e-12)
    # One factor: directions stay.
    ratios = scaled("mean_norm", x) / x
    torch.testing.assert_close(ratios, torch.full_like(x, float(ratios[0, 0])))


def test_whitening_is_scikit_learn_s_with_eps_added_to_the_variances():
    x = data().numpy()
    pca = PCA(whiten=True).fit(x)
    whitening = Whitening(6, eps=1e-12).double()
    whitening.fit(torch.from_numpy(x))
    ours, theirs = whitening(torch.from_numpy(x)).numpy(), pca.transform(x) * math.sqrt(len(x) / (len(x) - 1))
    np.testing.assert_allclose(np.abs(ours), np.abs(theirs), rtol=1e-6, atol=1e-8)
    covariance = np.cov(scaled("whitened", torch.from_numpy(x)).numpy().T, bias=True)
    variances = np.linalg.eigvalsh(np.cov(x.T, bias=True))[::-1]
    np.testing.assert_allclose(covariance, np.diag(variances / (variances + 1e-3 * variances.mean())), atol=1e-10)


def test_a_dimension_that_never_changes_is_whitened_to_zero():
    x = data()
    x[:, 3] = 7.0
    z = scaled("whitened", x)
    assert bool(z.isfinite().all())
    assert float(z.abs().max()) < 10


@pytest.mark.parametrize("name", NAMES)
def test_undo_gives_the_data_back_and_nothing_is_scaled_before_the_fit(name):
    x = data()
    scaling = make_scaling(name, 6).double()
    if name != "standardized":
        assert torch.equal(scaling(x), x)
        assert torch.equal(scaling.undo(x), x)
    scaling.fit(x)
    assert scaling.is_fitted
    torch.testing.assert_close(scaling.undo(scaling(x), x), x, rtol=1e-12, atol=1e-10)


def test_standardized_samples_are_those_of_numpy_and_need_their_samples_back():
    x = data()
    array = x.numpy()
    scaling = make_scaling("standardized", 6)
    truth = (array - array.mean(1, keepdims=True)) / (array.std(1, ddof=1, keepdims=True) + 1e-5)
    np.testing.assert_allclose(scaling(x), truth, atol=1e-10)
    with pytest.raises(ValueError, match="needs the samples x"):
        scaling.undo(x)
    assert not scaling.is_foldable
    assert torch.equal(scaling(torch.full((2, 6), 0.1)), torch.zeros(2, 6))


@pytest.mark.parametrize("name", FITTED)
def test_instances_with_data_of_their_own_are_scaled_as_each_would_be_alone(name):
    x = torch.stack([data(seed, offset=10.0 * seed) for seed in range(3)])
    together = scaled(name, x, (3,))
    for i in range(3):
        torch.testing.assert_close(together[i], scaled(name, x[i]), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", FITTED)
def test_what_was_fitted_is_in_the_checkpoint_and_stays_in_float32(name):
    x = data(dtype=torch.float32)
    scaling = make_scaling(name, 6)
    assert not scaling.is_fitted
    scaling.fit(x)
    again = make_scaling(name, 6)
    again.load_state_dict(scaling.state_dict())
    assert again.is_fitted
    assert torch.equal(again(x), scaling(x))
    half = again.to(torch.bfloat16)
    assert torch.equal(half(x), scaling(x))
    assert half(x.bfloat16()).dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(half(x), scaling(x))


@pytest.mark.parametrize("name", [name for name in FITTED if name.startswith("centered") or name == "whitened"])
def test_far_from_zero_no_more_digits_are_lost_than_float32_data_have(name):
    near = data(offset=0.0, dtype=torch.float32).mul(8).round().div(8)  # exact beside 1e6, in steps of 1/16
    far = near + 1e6
    scaling, truth = make_scaling(name, 6), make_scaling(name, 6).double()
    scaling.fit(far)
    truth.fit(near.double())
    spread = float(near.std())
    error = scaling(far).double() - truth(near.double())
    # The mean itself is known to half a step of float32 at 1e6, 0.03.
    assert float((error - error.mean(0)).abs().max()) < 1e-5
    assert float((scaling.undo(scaling(far)) - far).abs().max()) <= 0.0625
    assert spread > 1


@pytest.mark.parametrize(
    ("name", "samples", "message"),
    [
        ("mean_norm", torch.zeros(5, 3), "mean_norm has no scale to find, for the samples are all zero"),
        ("mean_square", torch.zeros(5, 3), "all zero"),
        ("centered_mean_norm", torch.full((5, 3), 0.1), "all equal"),
        ("centered_mean_square", torch.full((5, 3), 0.1), "all equal"),
        ("whitened", torch.full((5, 3), 0.1), "whitened has no scale to find, for the samples are all equal"),
        ("centered", torch.tensor([[1.0, math.nan, 0.0]]), "needs finite samples"),
        ("mean_norm", torch.tensor([[1.0, math.inf, 0.0]]), "needs finite samples"),
    ],
)
def test_samples_without_a_scale_are_refused_in_one_sentence(name, samples, message):
    with pytest.raises(ConfigError, match=message):
        make_scaling(name, 3).fit(samples)


def test_the_instance_without_a_scale_is_named():
    samples = torch.stack([torch.ones(4, 3), torch.zeros(4, 3)])
    with pytest.raises(ConfigError, match="the samples of instance 1 are all zero"):
        AffineScaling("mean_norm", 3, (2,)).fit(samples)


def test_options_out_of_range_are_refused():
    with pytest.raises(ConfigError, match="at least 2 numbers"):
        make_scaling("standardized", 1)
    with pytest.raises(ConfigError, match="eps of whitening is 0"):
        make_scaling("whitened", 3, eps=0.0)
