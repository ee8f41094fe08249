"""Codes selected from some samples at a time, against the activation applied to all pre-activations."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from ae_lightning.nn import sparse_encoding
from ae_lightning.nn.active_latents import ActiveLatents
from ae_lightning.nn.batch_topk import BatchTopK
from ae_lightning.nn.sparse_code import SparseCode
from ae_lightning.nn.sparse_encoding import encode_selected
from ae_lightning.nn.sparse_products import decode_sparse
from ae_lightning.nn.topk import TopK

SAMPLES, INPUT, LATENTS = 7, 5, 12

Make = Callable[[int | None, bool], ActiveLatents]
ACTIVATIONS: dict[str, Make] = {
    "one": lambda instances, weighted: TopK(1, LATENTS, instances, weighted=weighted),
    "three": lambda instances, weighted: TopK(3, LATENTS, instances, weighted=weighted),
    "all": lambda instances, weighted: TopK(LATENTS, LATENTS, instances, weighted=weighted),
    "groups": lambda instances, weighted: TopK(4, LATENTS, instances, groups=True, weighted=weighted),
    "one of a batch": lambda instances, weighted: BatchTopK(1, LATENTS, instances, weighted=weighted),
    "a fraction of a batch": lambda instances, weighted: BatchTopK(2.5, LATENTS, instances, weighted=weighted),
    "all of a batch": lambda instances, weighted: BatchTopK(LATENTS, LATENTS, instances, weighted=weighted),
}
OF_EACH: dict[str, Make] = {
    "samples": lambda instances, weighted: TopK([1, 3, 12], LATENTS, 3, weighted=weighted),
    "batch": lambda instances, weighted: BatchTopK([0.5, 3, 12], LATENTS, 3, weighted=weighted),
}

each_activation = pytest.mark.parametrize("name", ACTIVATIONS)


def parts(lead: tuple[int, ...] = (), own: bool = False, samples: int = SAMPLES) -> tuple[Tensor, ...]:
    """Samples, encoder, bias and center, and norms without a gradient."""
    torch.manual_seed(0)
    shapes = ((*(lead if own else ()), samples, INPUT), (*lead, INPUT, LATENTS), (*lead, LATENTS), (*lead, INPUT))
    drawn = [torch.randn(shape, dtype=torch.float64).requires_grad_() for shape in shapes]
    return *drawn, torch.rand(*lead, LATENTS, dtype=torch.float64) + 0.5


def dense(activation: ActiveLatents, x, weight, bias, center, norms=None) -> Tensor:
    return activation((x - center.unsqueeze(-2)) @ weight + bias.unsqueeze(-2), norms)


def sparse(activation: ActiveLatents, x, weight, bias, center, norms=None) -> SparseCode:
    code = encode_selected(activation, x, weight, bias, center, norms)
    return SparseCode(code.values.relu(), code.places)


def assert_same(activation: ActiveLatents, given: tuple[Tensor, ...], weighted: bool) -> None:
    """Codes, and gradients to all that they are made of."""
    *read, norms = given
    found = sparse(activation, *read, norms if weighted else None)
    wanted = dense(activation, *read, norms if weighted else None)
    torch.testing.assert_close(found.to_dense(), wanted, rtol=1e-10, atol=1e-10)
    assert bool((found.places.flat.diff() > 0).all()), "places rise, each once"
    upon = torch.randn_like(wanted)
    ours = torch.autograd.grad((found.to_dense() * upon).sum(), read)
    for one, other in zip(ours, torch.autograd.grad((wanted * upon).sum(), read), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("block", [1 << 22, 3 * LATENTS, 1], ids=["all at once", "three samples", "one sample"])
@pytest.mark.parametrize("weighted", [False, True], ids=["by pre-activation", "by what is written"])
@pytest.mark.parametrize(
    ("lead", "own"), [((), False), ((3,), False), ((3,), True)], ids=["single", "shared samples", "own samples"]
)
@each_activation
def test_it_is_what_the_activation_keeps(name, lead, own, weighted, block, monkeypatch):
    monkeypatch.setattr(sparse_encoding, "_BLOCK", block)
    assert_same(ACTIVATIONS[name](*(lead or (None,)), weighted), parts(lead, own), weighted)


@pytest.mark.parametrize("block", [1 << 22, 3 * LATENTS], ids=["all at once", "three samples"])
@pytest.mark.parametrize("weighted", [False, True], ids=["by pre-activation", "by what is written"])
@pytest.mark.parametrize("own", [False, True], ids=["shared samples", "own samples"])
@pytest.mark.parametrize("of", OF_EACH)
def test_each_instance_keeps_as_many_as_it_has(of, own, weighted, block, monkeypatch):
    monkeypatch.setattr(sparse_encoding, "_BLOCK", block)
    assert_same(OF_EACH[of](3, weighted), parts((3,), own), weighted)


@each_activation
def test_a_batch_of_one(name):
    assert_same(ACTIVATIONS[name](2, False), parts((2,), samples=1), False)


@pytest.mark.parametrize("threshold", [0.0, 0.7, 1e6], ids=["half of all", "some", "none"])
@pytest.mark.parametrize("weighted", [False, True])
def test_outside_training_latents_above_a_threshold(threshold, weighted, monkeypatch):
    monkeypatch.setattr(sparse_encoding, "_BLOCK", 3 * LATENTS)
    activation = BatchTopK(2, LATENTS, 3, weighted=weighted).eval()
    activation.calibrate(threshold * torch.tensor([1.0, 0.5, 2.0]))
    assert_same(activation, parts((3,)), weighted)


@each_activation
def test_equal_scores_are_kept_as_often_as_the_activation_keeps_them(name):
    """Which ones is left open; each has the gradient of a product."""
    activation = ACTIVATIONS[name](None, False)
    x, weight, bias, _, _ = parts()
    x, weight = torch.ones_like(x).requires_grad_(), torch.ones_like(weight).requires_grad_()
    bias = torch.zeros_like(bias).requires_grad_()
    code = sparse(activation, x, weight, bias, torch.zeros(INPUT, dtype=torch.float64))
    assert code.active().sum() == (activation(x @ weight) != 0).sum()
    assert code.values.tolist() == [INPUT] * len(code.values)
    chosen = torch.zeros(SAMPLES, LATENTS, dtype=torch.float64).flatten()
    chosen[code.places.flat] = 1
    chosen = chosen.view(SAMPLES, LATENTS)
    of_x, of_weight, of_bias = torch.autograd.grad(code.values.sum(), (x, weight, bias))
    torch.testing.assert_close(of_x, chosen @ weight.mT)
    torch.testing.assert_close(of_weight, x.mT @ chosen)
    torch.testing.assert_close(of_bias, chosen.sum(0))


@each_activation
@pytest.mark.parametrize("lead", [(), (2,)], ids=["single", "instances"])
def test_gradients_are_those_of_finite_differences(name, lead):
    """Of encoding, selection and decoding together."""
    activation = ACTIVATIONS[name](*(lead or (None,)), False)
    *given, _ = parts(lead, samples=3)
    rows = torch.randn(*lead, LATENTS, 2, dtype=torch.float64).requires_grad_()
    assert gradcheck(lambda *given: decode_sparse(sparse(activation, *given[:-1]), given[-1]), (*given, rows))


def test_values_of_half_precision_are_widened():
    x, weight, bias, center, _ = (part.bfloat16() for part in parts())
    found = sparse(TopK(3, LATENTS), x, weight, bias, center)
    assert found.dtype == torch.float32
    assert found.active().max() <= 3
