import math

import pytest
import torch

from ae_lightning.data import GaussianDataModule
from ae_lightning.errors import ConfigError


def made(**options) -> GaussianDataModule:
    data = GaussianDataModule(**options)
    data.setup()
    return data


def test_before_setup():
    data = GaussianDataModule(dim=30, rank=5)
    assert data.input_shape == (30,)
    assert data.value_range == (-math.inf, math.inf)
    assert data.num_classes is None


def test_sizes_and_empty_labels():
    data = made(num_train=30, num_val=20, num_test=10)
    assert [len(s) for s in (data.train_set, data.val_set, data.test_set)] == [30, 20, 10]
    x, y = data.train_set.take(4)
    assert x.shape == (4, 200)
    assert y.shape == (4, 0)


def test_without_noise_all_sets_lie_in_one_subspace():
    data = made(noise=0.0)
    x = torch.cat([s.take(5000)[0] for s in (data.train_set, data.val_set, data.test_set)])
    singular = torch.linalg.svdvals(x.double())
    assert singular[49] > 1
    assert singular[50] < 1e-3


def test_variance_is_one_plus_that_of_the_noise():
    assert float(made(noise=0.5, num_train=20_000).train_set.take(20_000)[0].var()) == pytest.approx(1.25, rel=0.03)


def test_principal_components_reach_the_documented_error():
    data = made(noise=0.3, num_train=20_000)
    x = data.train_set.take(20_000)[0].double()
    values = torch.linalg.svdvals(x) ** 2
    error = float(values[50:].sum() / x.numel())
    assert error == pytest.approx(0.3**2 * 150 / 200, rel=0.02)


def test_everything_follows_from_the_seed():
    torch.manual_seed(3)
    state = torch.get_rng_state()
    first, same, other = made(), made(), made(seed=1)
    assert first.fingerprint() == same.fingerprint() != other.fingerprint()
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(first.train_set.take(800)[0], first.val_set.take(800)[0])
    assert not torch.equal(first.test_set.take(800)[0], first.val_set.take(800)[0])


def test_the_size_of_one_set_does_not_change_the_others():
    assert torch.equal(made(num_train=10).val_set.take(800)[0], made(num_train=20).val_set.take(800)[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 0}, r"--data\.rank is 0; it must lie between 1 and --data\.dim, which is 200"),
        ({"dim": 10, "rank": 11}, r"--data\.rank is 11; .* 10"),
        ({"noise": -1.0}, r"--data\.noise is -1; it must be finite and not negative"),
        ({"noise": math.nan}, r"--data\.noise is nan"),
        ({"num_val": 0}, r"--data\.num_val is 0; it must be at least 1"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ConfigError, match=message):
        GaussianDataModule(**options)
