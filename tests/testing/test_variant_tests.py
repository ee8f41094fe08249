"""Each of the common tests fails for a variant that has the fault it looks for."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ae_lightning.errors import UserError
from ae_lightning.models.base import Autoencoder
from ae_lightning.models.overcomplete import OvercompleteAutoencoder
from ae_lightning.testing import VariantTests
from ae_lightning.testing.digits import ReshapedDigits

SHAPE = (1, 8, 8)


class Sound(Autoencoder):
    def __init__(self, input_shape: tuple[int, ...] = SHAPE, latent_dim: int = 16, **kwargs: Any) -> None:
        super().__init__(input_shape, **kwargs)
        self.encoder = nn.Linear(self.input_size, latent_dim)
        self.decoder = nn.Linear(latent_dim, self.input_size)

    def encode(self, x: Tensor) -> Tensor:
        return self.encoder(x.flatten(1))

    def decode(self, z: Tensor) -> Tensor:
        return self.decoder(z).unflatten(-1, self.input_shape)


class Idle(Sound):
    def __init__(self, input_shape: tuple[int, ...] = SHAPE, **kwargs: Any) -> None:
        super().__init__(input_shape, **kwargs)
        self.spare = nn.Parameter(torch.zeros(3))


class Noisy(Sound):
    def encode(self, x: Tensor) -> Tensor:
        z = super().encode(x)
        return z + torch.randn_like(z)


class Sociable(Sound):
    def encode(self, x: Tensor) -> Tensor:
        z = super().encode(x)
        return z - z.mean(0)


class Forgetful(Sound):
    """What it counts in training, and uses, is no part of its state."""

    def __init__(self, input_shape: tuple[int, ...] = SHAPE, **kwargs: Any) -> None:
        super().__init__(input_shape, **kwargs)
        self.register_buffer("count", torch.ones(()), persistent=False)

    def encode(self, x: Tensor) -> Tensor:
        if self.training:
            self.count += 1
        return super().encode(x) / self.count


class Unbounded(Sound):
    @property
    def output_range(self) -> tuple[float, float]:
        return 0.4, 0.41


class Mixed(OvercompleteAutoencoder):
    def encode(self, x: Tensor) -> Tensor:
        z = super().encode(x)
        return z if self.instances is None else z + 0.1 * z.sum(0)


class Stubborn(Sound):
    """Its code carries nothing, though it is wide."""

    def decode(self, z: Tensor) -> Tensor:
        return super().decode(0 * z)


@pytest.fixture
def tests() -> VariantTests:
    return VariantTests()


@pytest.fixture
def x() -> Tensor:
    return torch.rand(8, *SHAPE, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def data() -> ReshapedDigits:
    data = ReshapedDigits(SHAPE)
    data.setup()
    return data


def test_a_sound_one_passes(tests: VariantTests, x: Tensor, data: ReshapedDigits) -> None:
    tests.test_gradients_reach_every_parameter(Sound(), x)
    tests.test_evaluation_is_the_same_each_time(Sound(), x)
    tests.test_samples_do_not_influence_each_other_in_evaluation(Sound(), x)
    tests.test_one_batch_can_be_overfitted(Sound(), data)
    tests.test_reconstructions_have_the_shape_of_the_input(Sound, SHAPE)


def test_a_parameter_without_effect(tests: VariantTests, x: Tensor) -> None:
    with pytest.raises(AssertionError, match="spare"):
        tests.test_gradients_reach_every_parameter(Idle(), x)


def test_noise_in_evaluation(tests: VariantTests, x: Tensor) -> None:
    with pytest.raises(AssertionError):
        tests.test_evaluation_is_the_same_each_time(Noisy(), x)
    tests.test_it_trains_in_bfloat16(Noisy(), x)  # which is no matter of luck: both passes draw the same noise


def test_samples_that_influence_each_other(tests: VariantTests, x: Tensor) -> None:
    with pytest.raises(AssertionError):
        tests.test_samples_do_not_influence_each_other_in_evaluation(Sociable(), x)


def test_state_that_is_kept_nowhere(
    tests: VariantTests, data: ReshapedDigits, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(AssertionError):
        tests.test_it_comes_back_from_a_checkpoint_bit_for_bit(Forgetful(), data, tmp_path)
    with pytest.raises(AssertionError):
        tests.test_a_snapshot_brings_back_all_that_a_trained_model_does(Forgetful, data, tmp_path)
    with pytest.raises(AssertionError):
        tests.test_a_fit_that_is_resumed_goes_on_bit_for_bit(Forgetful, data, tmp_path, monkeypatch)
    tests.test_a_fit_that_is_resumed_goes_on_bit_for_bit(Sound, data, tmp_path, monkeypatch)


def test_an_output_outside_its_range(tests: VariantTests) -> None:
    with pytest.raises((AssertionError, UserError)):
        tests.test_reconstructions_have_the_shape_of_the_input(Unbounded, SHAPE)


def test_instances_that_are_not_independent(tests: VariantTests, x: Tensor) -> None:
    def build(shape: tuple[int, ...], **options: Any) -> Mixed:
        return Mixed(shape, 12, **options)

    with pytest.raises(AssertionError):
        tests.test_a_population_is_its_members_side_by_side(build, build(SHAPE), x)


def test_a_code_that_carries_nothing(tests: VariantTests, data: ReshapedDigits) -> None:
    with pytest.raises(pytest.fail.Exception, match="after 300 steps"):
        tests.test_one_batch_can_be_overfitted(Stubborn(), data)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 12, 10), (20,), (4, 5)])
def test_digits_take_any_shape(shape: tuple[int, ...]) -> None:
    data = ReshapedDigits(shape)
    data.setup()
    x, y = data.train_set.take(50)
    assert x.shape == (50, *shape)
    assert 0 <= float(x.min()) < float(x.max()) <= 1
    assert len(y.unique()) == 10
    if shape == (3, 12, 10):
        original, _ = _digits().take(50)
        assert torch.equal(x[:, 0], x[:, 2])
        assert torch.equal(x[:, 0, 0, 0], original[:, 0, 0, 0])  # corners stay corners


def _digits() -> Any:
    data = ReshapedDigits((1, 8, 8))
    data.setup()
    return data.train_set
