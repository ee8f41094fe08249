"""‖J‖²_F of encoders beside whole Jacobians of torch.func."""

import math

import pytest
import torch
from torch import nn
from torch.func import jacrev, vmap

from ae_lightning.nn.contraction import layer_contraction, projected_contraction, single_layer
from ae_lightning.nn.draws import SampleDraws, StreamDraws
from ae_lightning.nn.mlp import MLP

ACTIVATIONS = [nn.Sigmoid(), nn.Tanh(), nn.ReLU(), nn.ELU(), nn.LeakyReLU(0.1), nn.GELU(), nn.Softplus(), nn.SiLU()]


def jacobians(encoder, x):
    """(batch, code, input), by torch.func."""
    with torch.no_grad():
        whole = vmap(jacrev(lambda one: encoder(one[None])[0].flatten()))(x)
    return whole.flatten(2)


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda module: type(module).__name__)
def test_one_layer_is_exact(activation):
    encoder = nn.Sequential(nn.Linear(6, 4), activation).double()
    x = torch.randn(5, 6, dtype=torch.float64)
    truth = jacobians(encoder, x).square().sum((1, 2))
    torch.testing.assert_close(layer_contraction(single_layer(encoder), x), truth, rtol=1e-6, atol=0)


def test_a_sigmoid_by_the_formula_of_the_paper():
    layer = nn.Linear(6, 4)
    x = torch.randn(5, 6)
    s = torch.sigmoid(x @ layer.weight.T + layer.bias).detach()
    truth = ((s * (1 - s)) ** 2 * (layer.weight**2).sum(1)).sum(1)
    torch.testing.assert_close(layer_contraction((layer, nn.Sigmoid()), x), truth)


def test_what_one_layer_is():
    assert single_layer(MLP([6, 4], "relu", "sigmoid")) is not None
    assert isinstance(single_layer(nn.Sequential(nn.Flatten(), nn.Linear(6, 4)))[1], nn.Identity)
    assert isinstance(single_layer(nn.Linear(6, 4))[1], nn.Identity)
    for other in (
        MLP([6, 5, 4]),
        nn.Sequential(nn.Linear(6, 4), nn.Softmax(-1)),
        nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4)),
        nn.Conv2d(1, 2, 3),
    ):
        assert single_layer(other) is None


def test_random_projections_are_unbiased_and_vary_as_stated():
    encoder = nn.Sequential(nn.Linear(7, 9), nn.Tanh(), nn.Linear(9, 5), nn.Tanh()).double()
    x = torch.randn(1, 7, dtype=torch.float64)
    m = (lambda j: j @ j.T)(jacobians(encoder, x)[0])
    probes, draws = 2, 4000
    many = x.expand(draws, -1)
    found = projected_contraction(encoder, many, StreamDraws(many, torch.Generator().manual_seed(0)), probes).detach()
    variance = 2 * float(m.square().sum() - m.diagonal().square().sum()) / probes
    assert float(found.mean()) == pytest.approx(float(m.trace()), abs=3 * math.sqrt(variance / draws))
    # The standard error of a variance, from the fourth moment of what was drawn.
    spread = float((found - found.mean()).square().std()) / math.sqrt(draws)
    assert float(found.var()) == pytest.approx(variance, abs=3 * spread)
    assert variance < 2 * float(m.trace()) ** 2 / probes


def test_codes_that_are_maps_and_codes_of_one_number_which_need_no_luck():
    encoder = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.ELU(), nn.Flatten(), nn.Linear(48, 1)).double()
    x = torch.randn(6, 1, 4, 4, dtype=torch.float64)
    truth = jacobians(encoder, x).square().sum((1, 2))
    torch.testing.assert_close(projected_contraction(encoder, x, SampleDraws(x, 0), 1), truth)
    maps = encoder[:2]
    many = projected_contraction(maps, x, SampleDraws(x, 0), 600)
    torch.testing.assert_close(many, jacobians(maps, x).square().sum((1, 2)), rtol=0.05, atol=0)


@pytest.mark.parametrize("exact", [True, False])
def test_the_gradient_is_that_of_the_jacobians_norm(exact):
    encoder = nn.Sequential(nn.Linear(6, 1), nn.Sigmoid()).double()  # of one number, where a probe is exact
    x = torch.randn(5, 6, dtype=torch.float64)

    def gradients(value):
        return torch.autograd.grad(value.sum(), list(encoder.parameters()))

    found = (
        layer_contraction(single_layer(encoder), x)
        if exact
        else projected_contraction(encoder, x, SampleDraws(x, 0), 2)
    )
    truth = vmap(jacrev(lambda one: encoder(one)))(x).square().sum((1, 2))
    for ours, theirs in zip(gradients(found), gradients(truth), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_it_works_where_lightning_validates_and_keeps_no_graph():
    encoder = MLP([6, 5, 4], "tanh", batch_norm=True).eval()
    x = torch.randn(5, 6)
    expected = projected_contraction(encoder, x, SampleDraws(x, 0), 2).detach()
    with torch.inference_mode():
        inside = x.clone()
        found = projected_contraction(encoder, inside, SampleDraws(inside, 0), 2)
        one = layer_contraction((encoder[0][0], nn.Tanh()), inside)
    torch.testing.assert_close(found, expected)
    assert one.shape == (5,)
    with torch.no_grad():
        assert not projected_contraction(encoder, x, SampleDraws(x, 0), 2).requires_grad
        assert not layer_contraction((encoder[0][0], nn.Tanh()), x).requires_grad
