"""What is measured of a posterior, on a model whose posterior is set by hand; and who has none."""

import numpy as np
import pytest
import torch

from ae_lightning.data.arrays import ArraysDataModule
from ae_lightning.errors import ConfigError
from ae_lightning.evaluation import describe, evaluate
from ae_lightning.evaluation.judgment import collapsed
from ae_lightning.evaluation.posterior import bound, require_bound
from ae_lightning.models.fully_connected import FullyConnectedAutoencoder
from ae_lightning.models.variational import VariationalAutoencoder
from ae_lightning.nn.networks import MLPNetwork


@pytest.fixture
def model() -> VariationalAutoencoder:
    """Latents with means x₀, 0.09 x₁, 3 and 0, and variances 1, 1, 1 and e."""
    model = VariationalAutoencoder((3,), 4, MLPNetwork(hidden_dims=()), likelihood="gaussian")
    (encoder,) = (part for part in model.encoder.modules() if isinstance(part, torch.nn.Linear))
    with torch.no_grad():
        encoder.weight.zero_()
        encoder.bias.zero_()
        encoder.weight[0, 0] = 1
        encoder.weight[1, 1] = 0.09
        encoder.bias[2] = 3
        encoder.bias[7] = 1
    return model.eval()


@pytest.fixture
def data(tmp_path) -> ArraysDataModule:
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(4000, 3)).astype(np.float32))
    data = ArraysDataModule(str(tmp_path / "x.npy"), eval_batch_size=300)
    data.setup()
    return data


def test_active_latents_and_divergences_are_those_of_the_posterior(model, data):
    posterior = evaluate(model, data)["posterior"]
    x = data.test_set.take(10_000)[0].double()
    expected = [
        float(0.5 * x[:, 0].square().mean()),
        float(0.5 * (0.09 * x[:, 1]).square().mean()),
        0.5 * 9,
        0.5 * (np.e - 1 - 1),
    ]
    assert posterior["kl_of_latents"] == pytest.approx(expected, rel=1e-4)
    assert posterior["kl"] == pytest.approx(sum(expected), rel=1e-4)
    variances = [float(x[:, 0].var(correction=0)), float(0.0081 * x[:, 1].var(correction=0)), 0, 0]
    assert posterior["variance_of_means"] == pytest.approx(variances, rel=1e-4, abs=1e-9)
    assert posterior["active"] == 1, "0.0081 is below 0.01"


def test_a_collapse_is_said_with_what_to_change():
    found = {"posterior": {"kl_of_latents": [0.0] * 20, "active": 4}}
    assert collapsed(found).startswith("Posterior collapse: 16 of 20 latents")
    assert "--model.beta" in collapsed(found)
    assert collapsed({"posterior": {"kl_of_latents": [0.0] * 20, "active": 5}}) is None
    assert collapsed({}) is None


def test_the_quick_bound_is_of_64_codes_and_at_most_1000_samples(model, data):
    results = evaluate(model, data)
    quick = results["bound"]
    assert (quick["samples"], quick["images"]) == (64, min(1000, len(data.test_set)))
    assert quick == bound(model, data.test_set, 64, 1000)
    assert quick["nats_se"] > 0
    assert describe(model)["likelihood"] == "Gaussian"


def test_a_bound_is_of_pieces_and_the_same_in_any(model, data, monkeypatch):
    """Pieces of one code, and of all; noise that a piece begins with is that which the piece before left."""
    whole = bound(model, data.test_set, 50, 20)
    monkeypatch.setattr("ae_lightning.evaluation.posterior._AT_ONCE", 1)
    assert bound(model, data.test_set, 50, 20)["nats"] == pytest.approx(whole["nats"], abs=0.1)


def test_a_single_sample_has_a_bound_without_an_error(model, data):
    assert bound(model, data.test_set, 5, 1)["nats_se"] is None


def test_a_model_without_a_likelihood_has_no_bound():
    model = FullyConnectedAutoencoder((1, 8, 8), 4)
    require_bound(model, None)
    with pytest.raises(ConfigError, match=r"--bound-samples .* FullyConnectedAutoencoder has no likelihood"):
        require_bound(model, 64)


def test_a_bound_of_no_codes_is_refused(model):
    with pytest.raises(ConfigError, match="--bound-samples is 0; it must be at least 1"):
        require_bound(model, 0)
