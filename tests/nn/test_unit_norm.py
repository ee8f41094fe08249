import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from ae_lightning.nn.unit_norm import UnitNormLinear

X = torch.randn(7, 3, generator=torch.Generator().manual_seed(1))


def pair(axis):
    """A layer of ours and torch's own weight normalization with all lengths 1, over the same numbers."""
    torch.manual_seed(0)
    ours, theirs = nn.Linear(3, 5), nn.Linear(3, 5)
    theirs.load_state_dict(ours.state_dict())
    theirs = weight_norm(theirs, dim=1 - axis)  # its dim is the axis that it keeps
    theirs.parametrizations.weight.original0.data.fill_(1)
    return UnitNormLinear(ours, axis), theirs


@pytest.mark.parametrize("axis", [0, 1])
def test_output_and_gradient_are_those_of_weight_normalization_with_lengths_of_one(axis):
    ours, theirs = pair(axis)
    torch.testing.assert_close(ours(X), theirs(X))
    ours(X).pow(2).sum().backward()
    theirs(X).pow(2).sum().backward()
    torch.testing.assert_close(ours.weight.grad, theirs.parametrizations.weight.original1.grad)
    torch.testing.assert_close(ours.bias.grad, theirs.bias.grad)


def test_columns_are_told_from_rows():
    columns, rows = pair(0)[0].matrix, pair(1)[0].matrix
    assert columns.shape == rows.shape == (5, 3)
    torch.testing.assert_close(columns.norm(dim=0), torch.ones(3))
    torch.testing.assert_close(rows.norm(dim=1), torch.ones(5))
    assert not torch.allclose(columns.norm(dim=1), torch.ones(5), atol=0.05)
    assert not torch.allclose(rows.norm(dim=0), torch.ones(3), atol=0.05)


def test_what_one_unit_writes_has_length_one():
    layer, _ = pair(0)
    written = layer(torch.eye(3)) - layer(torch.zeros(1, 3))
    torch.testing.assert_close(written.norm(dim=1), torch.ones(3))


def test_no_gradient_points_along_a_vector():
    layer, _ = pair(0)
    layer(X).exp().sum().backward()
    along = (layer.weight.grad * layer.weight).sum(0)
    torch.testing.assert_close(along, torch.zeros(3), atol=1e-5, rtol=0)
    assert float(layer.weight.grad.norm()) > 1


def test_lengths_of_the_parameter_do_not_matter():
    layer, _ = pair(0)
    before = layer(X)
    with torch.no_grad():
        layer.weight.mul_(torch.tensor([0.01, 3.0, 500.0]))
    torch.testing.assert_close(layer(X), before)


def test_a_vector_of_zeros_stays_one_and_breaks_nothing():
    layer, _ = pair(0)
    with torch.no_grad():
        layer.weight[:, 1] = 0
    layer(X).sum().backward()
    assert layer.matrix[:, 1].tolist() == [0] * 5
    assert bool(layer.weight.grad.isfinite().all())
