import pytest
import torch
from torch import nn

from ae_lightning.nn import affine as module
from ae_lightning.nn.affine import affine


def parts(instances, own, dtype=torch.float64):
    torch.manual_seed(0)
    lead = () if instances is None else (instances,)
    x = torch.randn(*(lead if own else ()), 9, 4, dtype=dtype)
    center, weight, bias = (torch.randn(*lead, *shape, dtype=dtype).requires_grad_() for shape in ((4,), (4, 7), (7,)))
    return x, center, weight, bias


@pytest.mark.parametrize(("instances", "own"), [(None, False), (3, False), (3, True)])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("centered", [True, False])
@pytest.mark.parametrize("activation", [None, nn.ReLU(inplace=True)])
def test_gradients_are_differences_of_values(monkeypatch, instances, own, biased, centered, activation):
    monkeypatch.setattr(module, "_NUMBERS_OF_BLOCK", 9 * 3)  # seven latents in blocks of three
    x, *parameters = parts(instances, own)

    def encode(center, weight, bias):
        return affine(x, weight, bias if biased else None, activation, center if centered else None)

    assert torch.autograd.gradcheck(encode, tuple(parameters))


@pytest.mark.parametrize("activation", [None, nn.ReLU(inplace=True)])
def test_samples_get_a_gradient_too(activation):
    x, center, weight, bias = parts(None, False)
    assert torch.autograd.gradcheck(lambda x: affine(x, weight, bias, activation, center), x.requires_grad_())


@pytest.mark.parametrize("instances", [None, 3])
def test_what_is_handed_in_as_a_gradient_stays_as_it_is(instances):
    x, center, weight, bias = parts(instances, False)
    z = affine(x, weight, bias, nn.ReLU(inplace=True), center)
    gradient = torch.randn_like(z)
    before = gradient.clone()
    z.backward(gradient)
    assert torch.equal(gradient, before)
    expected = torch.einsum("...nf,...nf->...f", gradient, (z > 0).to(z))
    torch.testing.assert_close(bias.grad, expected)


@pytest.mark.parametrize("instances", [None, 3])
def test_under_autocast_gradients_are_those_of_parameters_in_half_precision(instances):
    x, center, weight, bias = parts(instances, False, torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        z = affine(x, weight, bias, nn.ReLU(inplace=True), center)
    found = torch.autograd.grad(z.float().square().sum(), (center, weight, bias))
    wide = [part.detach().double().requires_grad_() for part in (center, weight, bias)]
    y = (x.double() - wide[0].unsqueeze(-2)) @ wide[1] + wide[2].unsqueeze(-2)
    expected = torch.autograd.grad(y.relu().square().sum(), wide)
    assert z.dtype == torch.bfloat16
    for one, truth in zip(found, expected, strict=True):
        assert one.dtype == torch.float32
        assert float((one - truth).norm() / truth.norm()) < 0.02


def test_a_wide_code_has_no_second_array_of_its_gradient():
    """Beside the gradient that comes in, the backward pass of a ReLU makes nothing of the code's size."""
    x, weight = torch.randn(64, 4), torch.randn(4, 40_000, requires_grad=True)
    z = affine(x, weight, None, nn.ReLU(inplace=True))
    gradient = torch.ones_like(z)
    with torch.profiler.profile(profile_memory=True, activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        z.backward(gradient)
    largest = max(event.cpu_memory_usage for event in profile.events())
    assert largest < z.numel() * 4
