import pytest
import torch
from torch import nn

from ae_lightning.nn.mlp import MLP


def test_it_computes_what_the_layers_written_out_compute():
    torch.manual_seed(0)
    mlp = MLP([5, 4, 3, 2], "tanh", "sigmoid")
    first, second, third = (module for module in mlp if isinstance(module, nn.Linear))
    x = torch.randn(7, 5)
    truth = torch.sigmoid(third(torch.tanh(second(torch.tanh(first(x))))))
    torch.testing.assert_close(mlp(x), truth, rtol=0, atol=0)


def test_it_starts_as_torch_s_linear_layers_do():
    torch.manual_seed(3)
    mlp = MLP([6, 5, 4])
    torch.manual_seed(3)
    layers = [nn.Linear(6, 5), nn.Linear(5, 4)]
    expected = [parameter for layer in layers for parameter in layer.parameters()]
    for ours, theirs in zip(mlp.parameters(), expected, strict=True):
        assert torch.equal(ours, theirs)


def test_the_last_layer_is_linear_by_default_and_a_single_layer_takes_the_output_activation():
    kinds = [type(module) for module in MLP([4, 3, 2])]
    assert kinds == [nn.Linear, nn.ReLU, nn.Linear]
    assert [type(module) for module in MLP([4, 2], "relu", "tanh")] == [nn.Linear, nn.Tanh]


def test_parameter_names_do_not_depend_on_identities():
    # `none` adds no module, so that a stack without activations has layers 0, 1, 2.
    assert list(dict(MLP([4, 3, 2], "none").named_children())) == ["0", "1"]


def test_an_unknown_activation_is_refused():
    with pytest.raises(ValueError, match="unknown activation 'step'"):
        MLP([3, 2, 1], "step")  # type: ignore[arg-type]
