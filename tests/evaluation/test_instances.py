"""Each instance's row of `metrics.json` beside the same weights in a model of their own."""

from typing import Any

import pytest
import torch

from ae_lightning import DigitsDataModule
from ae_lightning.errors import ConfigError
from ae_lightning.evaluation import evaluate
from ae_lightning.models.base import Autoencoder
from ae_lightning.models.fully_connected import FullyConnectedAutoencoder
from ae_lightning.models.jumprelu_sae import JumpReLUSAE
from ae_lightning.models.overcomplete import OvercompleteAutoencoder
from ae_lightning.run.instances import of_instance
from ae_lightning.run.instances import rows_of as table_of

SHAPE, LATENTS, INSTANCES = (1, 8, 8), 20, 3


def make(kind: str, instances: int | None) -> Autoencoder:
    if kind == "jumprelu":
        return JumpReLUSAE(SHAPE, LATENTS, instances=instances, target_l0=4.0).eval()
    return OvercompleteAutoencoder(SHAPE, LATENTS, instances=instances).eval()


def alone(kind: str, population: Autoencoder, instance: int) -> Autoencoder:
    """A single model with the weights and the state of one instance, taken out by their shapes."""
    single = make(kind, None)
    state = single.state_dict()
    parts = {name: value if value.shape == state[name].shape else value[instance] for name, value in _state(population)}
    single.load_state_dict(parts)
    return single.eval()


def _state(model: Autoencoder) -> list[tuple[str, torch.Tensor]]:
    return list(model.state_dict().items())


@pytest.fixture(scope="module")
def data() -> DigitsDataModule:
    return DigitsDataModule(eval_batch_size=100)  # the last batch of each set is smaller


@pytest.fixture(scope="module", params=["overcomplete", "jumprelu"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def population(kind: str) -> Autoencoder:
    torch.manual_seed(5)
    model = make(kind, INSTANCES)
    with torch.no_grad():  # the first instance has a dead latent, the second only dead ones
        model.dictionary.b_enc[0, 0].fill_(-100.0)
        model.dictionary.b_enc[1].fill_(-100.0)
    return model


@pytest.fixture(scope="module")
def results(population: Autoencoder, data: DigitsDataModule) -> dict[str, Any]:
    return evaluate(population, data)


def assert_alike(found: Any, expected: Any, where: str) -> None:
    if isinstance(expected, dict):
        assert found.keys() == expected.keys(), where
        for name, value in expected.items():
            assert_alike(found[name], value, f"{where}.{name}")
    else:
        tolerance = pytest.approx(expected, rel=1e-5, abs=1e-8) if isinstance(expected, float) else expected
        assert found == tolerance, where


@pytest.mark.parametrize("instance", range(INSTANCES))
def test_an_instance_has_the_numbers_of_the_model_of_its_weights(kind, population, data, results, instance):
    expected = evaluate(alone(kind, population, instance), data)
    found = of_instance(results, instance)
    assert (found["model"].pop("instance"), found["model"].pop("settings")) == (instance, {})
    for part in ("model", "data", "errors", "pca_components", "latents", "recovery", "weights", "test_is_validation"):
        assert_alike(found[part], expected[part], part)


def test_means_over_the_instances_are_the_numbers_of_the_population(results):
    rows = [of_instance(results, i) for i in range(INSTANCES)]
    for name in ("mse_per_pixel", "fvu", "mse_per_pixel_std"):
        each = [row["errors"]["test"]["autoencoder"][name] for row in rows]
        assert len(set(each)) == INSTANCES
        assert results["errors"]["test"]["autoencoder"][name] == pytest.approx(sum(each) / INSTANCES)
    for name in ("dead", "l0", "l1", "near_zero"):
        assert results["latents"][name] == pytest.approx(sum(row["latents"][name] for row in rows) / INSTANCES)


def test_what_instances_share_stands_once(results):
    assert [row["instance"] for row in results["instances"]] == [0, 1, 2]
    assert [row["settings"] for row in results["instances"]] == [{}, {}, {}]
    assert all(list(row["errors"]["test"]) == ["autoencoder"] for row in results["instances"])


def test_a_row_of_a_table_for_each(results):
    rows = table_of(results)
    assert [row["instance"] for row in rows] == [0, 1, 2]
    assert [row["dead_latents"] for row in rows][1] == LATENTS
    assert len({row["test_mse_per_pixel"] for row in rows}) == INSTANCES
    assert {row["pca_test_mse_per_pixel"] for row in rows} == {results["errors"]["test"]["pca"]["mse_per_pixel"]}


def test_a_setting_that_is_whole_is_so_in_a_table(results):
    listed = [{**row, "settings": {"k": 8.0 + row["instance"] / 2}} for row in results["instances"]]
    assert [str(row["settings"]["k"]) for row in table_of({**results, "instances": listed})] == ["8", "8.5", "9"]


def test_a_model_without_instances_lists_none(data):
    results = evaluate(FullyConnectedAutoencoder(SHAPE, 4, hidden_dims=(8,)).eval(), data)
    assert "instances" not in results
    assert [row["instance"] for row in table_of(results)] == [None]
    with pytest.raises(ConfigError, match="the instance asked for is 0, but the run lists none"):
        of_instance(results, 0)


def test_an_instance_that_is_not_there_is_a_sentence(results):
    with pytest.raises(ConfigError, match="the instance asked for is 3, but the run lists 0 to 2"):
        of_instance(results, 3)
