import pytest
import torch
from torch import nn
from torch.autograd.functional import jacobian

from ae_lightning.nn.isometry import relaxed_distortion


def eigenvalues(decoder, z):
    """Of JᵀJ at each code, (batch, latent), from whole Jacobians."""
    jacobians = torch.stack([jacobian(lambda one: decoder(one[None])[0], code) for code in z])
    return torch.linalg.eigvalsh(jacobians.mT @ jacobians)


def squared_variation(values):
    """Squared coefficient of variation of all the numbers together."""
    return float(values.var(correction=0) / values.mean() ** 2)


@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_it_is_zero_for_a_scaled_isometry_whatever_is_drawn(scale, seed):
    torch.manual_seed(seed)
    columns = scale * torch.linalg.qr(torch.randn(9, 4)).Q
    assert float(relaxed_distortion(lambda z: z @ columns.T + 3, torch.randn(5, 4)).detach()) == pytest.approx(
        0, abs=1e-5
    )


def test_a_linear_decoder_by_hand():
    # Squared singular values 1, 4, 9, 16: mean 7.5, variance 32.25.
    torch.manual_seed(0)
    stretch = torch.tensor([1.0, 2.0, 3.0, 4.0])
    value = relaxed_distortion(lambda z: z * stretch, torch.randn(200_000, 4))
    assert float(value.detach()) == pytest.approx(32.25 / 7.5**2, rel=0.02)


def test_directions_that_are_stretched_alike_at_each_code_but_not_alike_at_all():
    """z → z|z|/2 in one dimension stretches by |z|: H is z², 1 for half the codes and 4 for the others."""
    z = torch.tensor([[1.0], [-2.0]]).repeat(50, 1)
    value = relaxed_distortion(lambda z: z * z.abs() / 2, z)
    assert float(value.detach()) == pytest.approx(2.25 / 6.25)


def test_a_deep_decoder_against_whole_jacobians():
    torch.manual_seed(0)
    decoder = nn.Sequential(nn.Linear(3, 16), nn.Tanh(), nn.Linear(16, 10), nn.Sigmoid()).double()
    z = 2 * torch.randn(20, 3, dtype=torch.float64)
    truth = squared_variation(eigenvalues(decoder, z))
    estimate = float(relaxed_distortion(decoder, z.repeat(5000, 1)).detach())
    assert truth > 0.3
    assert estimate == pytest.approx(truth, rel=0.03)


def test_its_gradient_is_its_slope():
    torch.manual_seed(0)
    decoder = nn.Sequential(nn.Linear(3, 6), nn.GELU(), nn.Linear(6, 5)).double()
    z = torch.randn(4, 3, dtype=torch.float64)

    def value(weight):
        torch.manual_seed(7)  # the same directions each time
        return relaxed_distortion(lambda z: torch.func.functional_call(decoder, {"0.weight": weight}, z), z)

    assert torch.autograd.gradcheck(value, decoder[0].weight)


def test_descending_it_makes_columns_orthogonal_and_of_one_length():
    torch.manual_seed(0)
    decoder = nn.Linear(4, 9)
    optimizer = torch.optim.Adam(decoder.parameters(), lr=0.01)
    for _ in range(500):
        optimizer.zero_grad()
        relaxed_distortion(decoder, torch.randn(64, 4)).backward()
        optimizer.step()
    gram = decoder.weight.T @ decoder.weight
    torch.testing.assert_close(gram / gram.trace() * 4, torch.eye(4), atol=0.05, rtol=0)


def test_codes_get_no_gradient_and_stay_what_they_are():
    z = torch.randn(5, 3, requires_grad=True)
    decoder = nn.Sequential(nn.Linear(3, 8), nn.Sigmoid())
    relaxed_distortion(decoder, z).backward()
    assert z.grad is None
    plain = torch.randn(5, 3)
    relaxed_distortion(decoder, plain)
    assert not plain.requires_grad


def test_autocast_does_not_make_it_rougher():
    decoder, z = nn.Linear(4, 9), torch.randn(50, 4)
    torch.manual_seed(0)
    plain = relaxed_distortion(decoder, z)
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(relaxed_distortion(decoder, z), plain)
