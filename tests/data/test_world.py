"""The data module: what a batch holds, what it depends on, and features without their zeros on their way to a model."""

import pytest
import torch
from torch import Tensor

from ae_lightning.data import WorldDataModule
from ae_lightning.errors import ConfigError
from ae_lightning.models.topk_sae import TopKSAE
from ae_lightning.nn.sparse_code import SparseCode

SMALL = {"features": 12, "dim": 6, "highest": 0.3, "num_val": 20, "num_test": 30, "batch_size": 8, "eval_batch_size": 8}
KINDS = {
    "independent": {},
    "coupled": {"correlation_rank": 3, "correlation_scale": 0.4},
    "trees": {"probability": "zipf", "highest": 0.4, "lowest": 0.02, "roots": 2, "branching": 2, "share": 0.8},
    "noisy": {"offset": 2.0, "noise": 0.1, "magnitude": "exponential"},
}


@pytest.fixture
def sparse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every world give its features as indices and values."""
    monkeypatch.setattr(WorldDataModule, "DENSE", 0)


def made(**options) -> WorldDataModule:
    data = WorldDataModule(**{**SMALL, **options})
    data.setup()
    return data


def dense(y: Tensor | SparseCode) -> Tensor:
    return y.to_dense()


@pytest.mark.parametrize("kind", KINDS)
def test_samples_are_sums_of_features(kind: str) -> None:
    data = made(**KINDS[kind], num_test=2000)
    x, y = data.test_set.take(2000)
    rest = x - y @ data.feature_directions
    world = data.world
    expected = torch.zeros(6) if world.offset is None else world.offset
    assert world.noise or torch.allclose(rest, expected.expand_as(rest), atol=1e-5)
    assert torch.allclose(rest.mean(0), expected, atol=4 * world.noise / 2000**0.5 + 1e-5)
    assert float(rest.std(0).mean()) == pytest.approx(world.noise, rel=0.03, abs=1e-5)
    assert world.noise == 0 or float(expected.norm()) == pytest.approx(2)


@pytest.mark.usefixtures("sparse")
@pytest.mark.parametrize("instances", [None, 3])
def test_indices_and_values_are_the_dense_features(instances: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    here = made(**KINDS["trees"], instances=instances)
    x, y = here.test_set.take(30)
    loaded = list(here.test_dataloader())
    assert here.fingerprint() == made(**KINDS["trees"], instances=instances).fingerprint()
    monkeypatch.setattr(WorldDataModule, "DENSE", 4096)
    there = made(**KINDS["trees"], instances=instances)
    x_dense, y_dense = there.test_set.take(30)
    assert isinstance(y, SparseCode)
    assert isinstance(y_dense, Tensor)
    assert torch.equal(x, x_dense)
    as_codes = y_dense if instances is None else y_dense.movedim(1, 0)
    assert torch.equal(dense(y), as_codes)
    assert [len(part) for _, part in loaded] == [8, 8, 8, 6]
    assert torch.equal(torch.cat([dense(part) for _, part in loaded], dim=-2), as_codes)


@pytest.mark.parametrize("instances", [None, 3])
def test_training_batches_hold_features_without_their_zeros(instances: int | None) -> None:
    data = made(**KINDS["coupled"], instances=instances, probability="linear", highest=1.0)
    batches = list(data.train_dataloader())[:3]
    assert all(isinstance(y, SparseCode) for _, y in batches)
    x, y = (torch.stack(part) for part in zip(*((x, dense(y)) for x, y in batches), strict=True))
    sums = y @ data.feature_directions
    assert torch.allclose(x, sums if instances is None else sums.movedim(1, 2), atol=1e-5)
    assert bool((y[..., 0] > 0).all())
    assert 0 < float((y[..., 5] > 0).double().mean()) < 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_follows_from_its_number(kind: str) -> None:
    data = made(**KINDS[kind], steps_per_epoch=20)
    whole = [(x, dense(y)) for x, y in data.train_dataloader()]
    loader = made(**KINDS[kind], steps_per_epoch=20).train_dataloader()
    for at, (x, y) in zip(range(13, 20), loader.batches(13), strict=True):
        assert torch.equal(x, whole[at][0])
        assert torch.equal(dense(y), whole[at][1])
    assert not torch.equal(whole[0][0], whole[1][0])


def test_seeds_of_the_world_and_of_its_samples_are_two() -> None:
    first, other_samples, other_world = made(), made(seed=1), made(world_seed=1)
    assert torch.equal(first.feature_directions, other_samples.feature_directions)
    assert not torch.equal(first.test_set.take(30)[1], other_samples.test_set.take(30)[1])
    assert not torch.equal(first.feature_directions, other_world.feature_directions)
    assert torch.equal(first.test_set.take(30)[1], other_world.test_set.take(30)[1])


def test_no_global_random_number_is_drawn() -> None:
    before = torch.get_rng_state()
    data = made(**KINDS["coupled"], magnitude_std=0.1, magnitude_std_spread=0.1)
    next(iter(data.train_dataloader()))
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"features": 0}, "without features"),
        ({"highest": 1.5}, "probability 1.5"),
        ({"correlations": [[0, 1, 0.9], [1, 2, 0.9], [0, 2, -0.9]]}, "not positive definite"),
        ({"parents": [1, 2, 0, *[-1] * 9]}, "its own ancestor"),
        ({"parents": [-1, 0, 0, 0, 0, *[-1] * 7]}, "exclusive children are together"),
        ({"correlations": [[0, 12, 0.5]]}, "two different features below 12"),
        ({"magnitude_mean": [1.0, 2.0, 3.0]}, "3 numbers for 12 features"),
        ({"magnitude": "uniform"}, "it can be normal"),
    ],
)
def test_mistakes_are_told(options: dict, said: str) -> None:
    with pytest.raises(ConfigError, match=said) as error:
        made(**options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("seed", [0, 3])
def test_a_dictionary_of_the_same_seed_does_not_start_from_the_truth(seed: int) -> None:
    data = WorldDataModule(features=64, dim=16, world_seed=seed, num_val=1, num_test=1)
    data.setup()
    start = TopKSAE((16,), latent_dim=64, k=4, seed=seed).decoder_vectors
    cosines = start @ data.feature_directions.mT
    assert float(cosines.abs().amax()) < 0.95
