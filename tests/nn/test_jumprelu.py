import pytest
import torch

from ae_lightning.errors import ConfigError
from ae_lightning.losses.jumprelu import l0_step
from ae_lightning.nn.jumprelu import JumpReLU, jump

# One latent, θ 1 and bandwidth 0.5, so a window from 0.75 to 1.25: below it, in it twice, and far above.
PRE = [0.5, 0.9, 1.1, 2.0]
TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


def column(*values):
    return torch.tensor(values).unsqueeze(-1).requires_grad_()


def theta(value=1.0):
    return torch.tensor([value], requires_grad=True)


@pytest.mark.parametrize("to_pre", [False, True])
def test_a_jump_and_its_gradients_by_hand(to_pre):
    pre, threshold = column(*PRE), theta()
    z = jump(pre, threshold, 0.5, to_pre)
    assert z.flatten().tolist() == pytest.approx([0, 0, 1.1, 2.0])
    z.backward(torch.tensor([[1.0], [2.0], [3.0], [4.0]]))
    # −θ/ε = −2 for each of the two in the window, times 2 and 3.
    assert threshold.grad.tolist() == [-10.0]
    assert pre.grad.flatten().tolist() == ([0, 4, 3 + 6, 4] if to_pre else [0, 0, 3, 4])


@pytest.mark.parametrize("function", [jump, l0_step])
@pytest.mark.parametrize(("pre", "inside"), [(0.74, False), (0.76, True), (1.24, True), (1.26, False)])
def test_a_threshold_gets_a_gradient_from_within_half_a_bandwidth_alone(function, pre, inside):
    threshold = theta()
    function(column(pre), threshold, 0.5).sum().backward()
    assert threshold.grad.tolist() == ([-2.0] if inside else [0.0])


def paper(pre, threshold, bandwidth, g_jump, g_step):
    """Values and gradients for z and the step, written entry by entry from the paper's equations 11 and 12."""
    z, fires, of_pre = torch.zeros_like(pre), torch.zeros_like(pre), torch.zeros_like(pre)
    of_jump, of_step = torch.zeros_like(threshold), torch.zeros_like(threshold)
    for n in range(pre.shape[0]):
        for i in range(pre.shape[1]):
            u = (pre[n, i] - threshold[i]) / bandwidth
            kernel = 1.0 if -0.5 < u < 0.5 else 0.0
            if u > 0:
                z[n, i], fires[n, i], of_pre[n, i] = pre[n, i], 1, g_jump[n, i]
            of_jump[i] -= threshold[i] / bandwidth * kernel * g_jump[n, i]
            of_step[i] -= kernel / bandwidth * g_step[n, i]
    return z, fires, of_pre, of_jump, of_step


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_both_are_the_papers_formulas(dtype):
    torch.manual_seed(0)
    pre, g_jump = torch.randn(2, 17, 5, dtype=dtype)
    threshold = torch.rand(5, dtype=dtype)
    # The mean over 17 samples of their sums: 3/17 reach each entry of what is summed.
    z, fires, *gradients = paper(pre, threshold, 0.8, g_jump, torch.full_like(pre, 3 / 17))
    pre, threshold = pre.requires_grad_(), threshold.requires_grad_()
    found_z, found_l0 = jump(pre, threshold, 0.8), l0_step(pre, threshold, 0.8)
    of_pre, of_jump = torch.autograd.grad(found_z, (pre, threshold), g_jump)
    (of_step,) = torch.autograd.grad(3 * found_l0, threshold)
    assert gradients[1].abs().max() > 0.1
    truth = (z, fires.sum(1).mean(), *gradients)
    for found, wanted in zip((found_z, found_l0, of_pre, of_jump, of_step), truth, strict=True):
        torch.testing.assert_close(found, wanted, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_gradients_of_half_precision_are_summed_in_float32():
    pre, threshold = torch.full((1000, 1), 1.0, dtype=torch.bfloat16).requires_grad_(), theta(0.999)
    z = jump(pre, threshold, 0.5)
    assert z.dtype == torch.bfloat16
    assert bool((z == 1).all()), "θ is not rounded to the 1 that bfloat16 has"
    (z * 1.0).sum(dtype=torch.float32).backward()
    assert pre.grad.dtype == torch.bfloat16
    assert threshold.grad.dtype == torch.float32
    assert float(threshold.grad) == pytest.approx(-0.999 / 0.5 * 1000, rel=1e-6)


def test_what_is_not_a_number_is_seen():
    pre = torch.tensor([[float("nan"), 2.0]])
    z = jump(pre, torch.ones(2), 0.5)
    assert bool(z[0, 0].isnan())
    assert float(z[0, 1]) == 2


def test_pre_activations_may_be_overwritten_afterwards():
    pre, threshold = column(*PRE), theta()
    computed = pre * 1
    z, l0 = jump(computed, threshold, 0.5), l0_step(computed, threshold, 0.5, to_pre=True)
    computed.data.zero_()
    (z.sum() + 4 * l0).backward()
    assert threshold.grad.tolist() == [-8.0]
    assert pre.grad.flatten().tolist() == [0, 2, 3, 1]


def test_a_byte_a_pre_activation_is_kept_beside_the_code():
    pre, threshold, kept = torch.randn(64, 8).requires_grad_(), torch.rand(8).requires_grad_(), {}

    def pack(tensor):
        kept[tensor.data_ptr()] = tensor.numel() * tensor.element_size()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        z = jump(pre * 1, threshold, 0.5)
    assert sum(kept.values()) == z.numel() * (4 + 1) + threshold.numel() * 4


def test_a_population_is_its_members():
    torch.manual_seed(0)
    population = JumpReLU(4, instances=3, threshold=0.3, bandwidth=0.7)
    with torch.no_grad():
        population.threshold.add_(torch.rand(3, 4))
    pre, gradient = torch.randn(2, 3, 9, 4)
    z = population(pre)
    (found,) = torch.autograd.grad(z, population.threshold, gradient)
    for i in range(3):
        member = JumpReLU(4, threshold=0.3, bandwidth=0.7)
        member.load_state_dict({"threshold": population.threshold[i]})
        alone = member(pre[i])
        assert torch.equal(z[i], alone)
        assert torch.equal(found[i], torch.autograd.grad(alone, member.threshold, gradient[i])[0])


def test_thresholds_are_raised_to_zero_when_the_optimizer_has_stepped_and_not_before():
    code = JumpReLU(3)
    with torch.no_grad():
        code.threshold.copy_(torch.tensor([-0.5, 0.0, 0.5]))
    code(torch.randn(2, 3))
    assert code.threshold.tolist() == [-0.5, 0.0, 0.5]
    code.advance(lambda x, how: x)
    assert code.threshold.tolist() == [0.0, 0.0, 0.5]
    assert float(code.measures()["threshold"]) == pytest.approx(0.5 / 3)


def test_latents_start_anew_and_are_scaled_alone():
    code = JumpReLU(3, threshold=0.25)
    code.scale_latents(torch.tensor([2.0, 4.0, 1.0]))
    assert code.threshold.tolist() == [0.5, 1.0, 0.25]
    pre = torch.tensor([[0.3, 0.2, 0.3]])
    before = JumpReLU(3, threshold=0.25)(pre)
    assert torch.equal(code(pre * torch.tensor([2.0, 4.0, 1.0])), before * torch.tensor([2.0, 4.0, 1.0]))
    code.reset_latents(torch.tensor([False, True, False]))
    assert code.threshold.tolist() == [0.5, 0.25, 0.25]
    assert code.latent_axes == {code.threshold: -1}
    assert code.threshold.is_leaf


def test_norms_do_not_move_the_comparison():
    code, pre = JumpReLU(2, threshold=1.0), torch.tensor([[0.9, 1.1]])
    assert torch.equal(code(pre, torch.tensor([2.0, 0.5])), code(pre))


def test_thresholds_keep_float32():
    assert JumpReLU(2).to(torch.bfloat16).threshold.dtype == torch.float32


@pytest.mark.parametrize(("option", "value"), [("threshold", -0.1), ("bandwidth", 0.0), ("bandwidth", -1.0)])
def test_values_without_sense_are_refused(option, value):
    with pytest.raises(ConfigError, match=rf"the {option} of a JumpReLU must .* it is {value}"):
        JumpReLU(2, **{option: value})


def test_it_is_traced_whole():
    code = JumpReLU(4, threshold=0.3)
    pre = torch.randn(8, 4, generator=torch.Generator().manual_seed(0)).requires_grad_()

    def loss(pre):
        return (code(pre).square() + l0_step(pre, code.threshold, 0.7, to_pre=True)).sum()

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    wanted = torch.autograd.grad(loss(pre), (pre, code.threshold))
    for found, truth in zip(torch.autograd.grad(compiled(pre), (pre, code.threshold)), wanted, strict=True):
        torch.testing.assert_close(found, truth)


def test_thresholds_of_each_instance_start_where_its_own_do_and_come_back_there():
    jump = JumpReLU(3, 2, threshold=[0.25, 0.75])
    assert jump.threshold.tolist() == [[0.25] * 3, [0.75] * 3]
    with torch.no_grad():
        jump.threshold.fill_(2.0)
    jump.reset_latents(torch.tensor([[True, False, False], [False, True, False]]))
    assert jump.threshold.tolist() == [[0.25, 2.0, 2.0], [2.0, 0.75, 2.0]]
