import copy

import pytest
import torch
from torch import nn
from torch.nn.utils.parametrizations import weight_norm

from ae_lightning.nn.linear import TiedLinear, UnitNormLinear


def tied_pair(unit_norm=False):
    """3 → 2 and back, in float64."""
    torch.manual_seed(0)
    source = UnitNormLinear(nn.Linear(3, 2), axis=1) if unit_norm else nn.Linear(3, 2)
    return nn.Sequential(source, TiedLinear(source, nn.Parameter(torch.randn(3)))).double()


def test_the_weight_gets_the_gradients_of_both_uses():
    pair = tied_pair()
    x = torch.randn(6, 3, dtype=torch.float64)
    pair(x).pow(2).sum().backward()
    w, b, c = pair[0].weight.detach(), pair[0].bias.detach(), pair[1].bias.detach()
    by_hand = torch.zeros(2, 3, dtype=torch.float64)
    for sample in x:
        z = w @ sample + b
        error = 2 * (w.T @ z + c)
        by_hand += torch.outer(z, error)  # as the decoder
        by_hand += torch.outer(w @ error, sample)  # as the encoder, which the decoder's error reaches through w
    torch.testing.assert_close(pair[0].weight.grad, by_hand)


def test_the_gradient_through_a_normalized_source_is_the_slope():
    pair = tied_pair(unit_norm=True)
    x = torch.randn(6, 3, dtype=torch.float64)

    def loss(weight):
        return torch.func.functional_call(pair, {"0.weight": weight}, x).pow(2).sum()

    assert torch.autograd.gradcheck(loss, pair[0].weight)
    used = pair[1](torch.eye(2, dtype=torch.float64)) - pair[1].bias  # rows: what each unit writes
    torch.testing.assert_close(used.norm(dim=1), torch.ones(2, dtype=torch.float64))


def test_the_matrix_is_listed_and_stored_once():
    pair = tied_pair()
    assert set(pair.state_dict()) == {"0.weight", "0.bias", "1.bias"}
    assert sum(p.numel() for p in pair.parameters()) == 6 + 2 + 3


def test_the_weight_is_a_view_of_the_sources():
    pair = tied_pair()
    with torch.no_grad():
        pair[1].weight[2, 1] = 7
    assert float(pair[0].weight.detach()[1, 2]) == 7


def test_a_copy_is_tied_to_its_own_source():
    pair = tied_pair()
    other = copy.deepcopy(pair)
    with torch.no_grad():
        other[0].weight.zero_()
    assert float(other[1].weight.detach().abs().max()) == 0
    assert float(pair[1].weight.detach().abs().max()) > 0


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
