import pytest
import torch
from torch import nn

from ae_lightning.nn.mlp import MLP


def test_it_computes_what_the_layers_written_out_compute():
    torch.manual_seed(0)
    mlp = MLP([5, 4, 3, 2], "tanh", "sigmoid")
    first, second, third = (module for module in mlp.modules() if isinstance(module, nn.Linear))
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
    assert kinds(MLP([4, 3, 2])) == [[nn.Linear, nn.ReLU], [nn.Linear]]
    assert kinds(MLP([4, 2], "relu", "tanh")) == [[nn.Linear, nn.Tanh]]


def kinds(mlp):
    return [[type(module) for module in layer] for layer in mlp]


def test_hidden_layers_alone_are_normalized_and_dropped_out_in_this_order():
    layers = kinds(MLP([5, 4, 3, 2], "relu", "sigmoid", batch_norm=True, dropout=0.2))
    hidden = [nn.Linear, nn.ReLU, nn.BatchNorm1d, nn.Dropout]
    assert layers == [hidden, hidden, [nn.Linear, nn.Sigmoid]]


def test_layer_outputs_are_what_each_layer_gives():
    torch.manual_seed(0)
    mlp = MLP([5, 4, 3], "relu", "none", batch_norm=True, dropout=0.5).eval()
    x = torch.randn(6, 5)
    first, last = mlp[0][0], mlp[1][0]
    hidden = torch.relu(x @ first.weight.T + first.bias) / (1 + 1e-5) ** 0.5  # fresh statistics: mean 0, variance 1
    outputs = mlp.layer_outputs(x)
    torch.testing.assert_close(outputs[0], hidden)
    torch.testing.assert_close(outputs[1], hidden @ last.weight.T + last.bias)


def test_an_unknown_activation_is_refused():
    with pytest.raises(ValueError, match="unknown activation 'step'"):
        MLP([3, 2, 1], "step")  # type: ignore[arg-type]
