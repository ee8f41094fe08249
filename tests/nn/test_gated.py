import pytest
import torch

from ae_lightning.nn.gated import Gated

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


def gated(latents=3, instances=None, dtype=torch.float32):
    code = Gated(latents, instances).to(dtype)
    with torch.no_grad():
        for parameter in code.parameters():
            parameter.normal_()
    return code


def test_it_starts_as_a_relu():
    pre = torch.tensor([[-1.0, 0.0, 2.0]])
    assert Gated(3)(pre).tolist() == [[0, 0, 2]]


def test_gate_and_magnitude_by_hand():
    code = Gated(4)
    with torch.no_grad():
        code.b_gate.copy_(torch.tensor([-2.0, -0.5, 3.0, 0.0]))
        code.b_mag.copy_(torch.tensor([1.0, 0.25, -5.0, 1.0]))
        code.r_mag.copy_(torch.tensor([1.0, 2.0, 3.0, 1.0]).log())
    pre = torch.tensor([[1.0, 1.0, 1.0, 0.0]])
    # Shut; open with 2 · 1 + ¼; open, but 3 · 1 − 5 is below zero; a gate at exactly zero is shut.
    assert code(pre)[0].tolist() == pytest.approx([0, 2.25, 0, 0])
    assert code.scores(pre)[0].tolist() == pytest.approx([-1, 0.5, 4, 0])


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_values_and_gradients_are_the_papers(dtype):
    torch.manual_seed(0)
    code, pre, gradient = gated(dtype=dtype), *torch.randn(2, 11, 3, dtype=dtype)
    z, of_pre = torch.zeros_like(pre), torch.zeros_like(pre)
    of_bias, of_ratio = torch.zeros(2, 3, dtype=dtype)
    for n in range(11):
        for i in range(3):
            ratio = code.r_mag[i].detach().exp()
            magnitude = pre[n, i] * ratio + code.b_mag[i].detach()
            if pre[n, i] + code.b_gate[i].detach() > 0 and magnitude > 0:
                z[n, i], of_pre[n, i] = magnitude, gradient[n, i] * ratio
                of_bias[i] += gradient[n, i]
                of_ratio[i] += gradient[n, i] * pre[n, i] * ratio
    pre.requires_grad_()
    found = code(pre)
    grads = torch.autograd.grad(found, (pre, code.b_mag, code.r_mag, code.b_gate), gradient, allow_unused=True)
    assert grads[3] is None, "the gate learns nothing from the code"
    assert 0 < int((z != 0).sum()) < z.numel()
    for one, wanted in zip((found, *grads[:3]), (z, of_pre, of_bias, of_ratio), strict=True):
        torch.testing.assert_close(one, wanted, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_a_population_is_its_members():
    torch.manual_seed(0)
    population, pre = gated(4, instances=2), torch.randn(2, 9, 4)
    z = population(pre)
    for i in range(2):
        member = Gated(4)
        member.load_state_dict({name: value[i] for name, value in population.state_dict().items()})
        assert torch.equal(member(pre[i]), z[i])
        assert torch.equal(member.scores(pre[i]), population.scores(pre)[i])


def test_scaled_pre_activations_give_codes_scaled_alike():
    torch.manual_seed(0)
    code, pre, factor = gated(dtype=torch.float64), torch.randn(20, 3, dtype=torch.float64), torch.tensor([2.0, 0.3, 7])
    before = code(pre).detach()
    code.scale_latents(factor)
    torch.testing.assert_close(code(pre * factor), before * factor)
    assert bool((before > 0).any())


def test_latents_start_anew():
    code = gated()
    before = {name: value.clone() for name, value in code.state_dict().items()}
    code.reset_latents(torch.tensor([False, True, False]))
    for name, value in code.state_dict().items():
        assert value.tolist() == [before[name][0], 0, before[name][2]]
    assert {id(parameter) for parameter in code.latent_axes} == {id(parameter) for parameter in code.parameters()}
    assert set(code.latent_axes.values()) == {-1}


def test_codes_of_half_precision_stay_narrow_and_biases_wide():
    torch.manual_seed(0)
    code = gated().to(torch.bfloat16)
    pre = torch.randn(50, 3).bfloat16()
    assert code.b_gate.dtype == code.b_mag.dtype == code.r_mag.dtype == torch.float32
    assert code(pre).dtype == code.scores(pre).dtype == torch.bfloat16
    assert torch.equal(code(pre), code(pre.float()).bfloat16())


def test_what_is_not_a_number_is_seen():
    assert bool(Gated(1)(torch.tensor([[float("nan")]])).isnan())


def test_it_is_traced_whole():
    torch.manual_seed(0)
    code, pre = gated(), torch.randn(8, 3)
    compiled = torch.compile(lambda pre: code(pre) + code.scores(pre), fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(compiled(pre), code(pre) + code.scores(pre))
