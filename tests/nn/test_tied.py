import copy

import torch
from torch import nn

from ae_lightning.nn.tied import TiedLinear
from ae_lightning.nn.unit_norm import UnitNormLinear


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
