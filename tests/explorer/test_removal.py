"""Errors without units, by switching them off one decoding after the other."""

import numpy as np
import pytest
import torch

from ae_lightning.explorer import removal as module
from ae_lightning.explorer.chain import dense_layers
from ae_lightning.explorer.network import Network
from ae_lightning.explorer.removal import removal
from ae_lightning.models.fully_connected import FullyConnectedAutoencoder
from ae_lightning.models.overcomplete import OvercompleteAutoencoder

VARIANTS = {
    "linear": lambda: OvercompleteAutoencoder((12,), latent_dim=40),
    "sigmoid": lambda: OvercompleteAutoencoder((12,), latent_dim=40, output_activation="sigmoid"),
    "deep": lambda: FullyConnectedAutoencoder((12,), hidden_dims=(9,), latent_dim=4, output_activation="none"),
}


@pytest.fixture
def x():
    return torch.rand((90, 12), generator=torch.Generator().manual_seed(1))


@pytest.fixture(params=VARIANTS)
def network(request):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return Network(tuple(dense_layers(VARIANTS[request.param]())))


def error_without(network, number, x, units):
    """In float64, with the activations of these units zero."""
    values = x.double().numpy()
    for place, layer in enumerate(network.layers):
        sums = values @ layer.weight.double().numpy() + layer.bias.double().numpy()
        values = {
            "relu": lambda s: np.maximum(s, 0),
            "none": lambda s: s,
            "sigmoid": lambda s: 1 / (1 + np.exp(-s)),
        }[layer.activation.name](sums)
        if place == number:
            values[:, list(units)] = 0
    return np.square(values - x.double().numpy()).mean()


def test_errors_without_units_are_those_measured_one_by_one(network, x, monkeypatch):
    monkeypatch.setattr(module, "_PIECE", 40)  # as if there were many samples: 40, 40 and 10
    for number, layer in enumerate(network.hidden):
        units = layer.weight.shape[1]
        order = torch.randperm(units, generator=torch.Generator().manual_seed(2))
        found = removal(network, number, x, order)
        assert (found.causal_samples, found.samples) == (len(x), len(x))
        whole = error_without(network, number, x, [])
        single = [error_without(network, number, x, [unit]) - whole for unit in range(units)]
        np.testing.assert_allclose(found.causal, single, atol=1e-7)
        assert (found.counts[0], found.counts[-1]) == (0, units)
        assert len(found.counts) == min(units + 1, 33)
        assert found.counts == sorted(set(found.counts))
        wanted = [error_without(network, number, x, order[:count].tolist()) for count in found.counts]
        np.testing.assert_allclose(found.errors, wanted, rtol=1e-5)


def test_what_takes_too_long_is_measured_on_fewer_samples(monkeypatch, x):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = Network(tuple(dense_layers(VARIANTS["deep"]())))
    monkeypatch.setattr(module, "_WORK", 1)
    found = removal(network, 0, x, torch.arange(9))
    assert found.causal_samples == found.samples == 32
    whole = error_without(network, 0, x[:32], [])
    np.testing.assert_allclose(found.causal[3], error_without(network, 0, x[:32], [3]) - whole, atol=1e-7)
    exact = removal(network, 2, x, torch.arange(9))  # before a linear layer that is quick
    assert exact.causal_samples == exact.samples == len(x)
