import math

import pytest
import torch

from ae_lightning.losses.jumprelu import l0_step, l0_tanh, l0_target, pre_activation_loss

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}
# Two samples of three latents, thresholds 1, and a window of 0.75 to 1.25.
PRE = [[0.9, 1.1, 3.0], [0.0, 0.8, 2.0]]


def near(found, wanted, dtype):
    torch.testing.assert_close(found, wanted, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_l0_and_its_gradient_by_hand():
    pre, threshold = torch.tensor(PRE, requires_grad=True), torch.ones(3, requires_grad=True)
    l0 = l0_step(pre, threshold, 0.5)
    assert l0.item() == 1.5  # 2 and 1 active
    l0.backward()
    # 1/ε = 2, halved by the mean over two samples; in the window are one, two and no samples.
    assert threshold.grad.tolist() == [-1, -2, 0]
    assert pre.grad is None or not pre.grad.any()
    l0_step(pre, threshold, 0.5, to_pre=True).backward()
    assert pre.grad.tolist() == [[1, 1, 0], [0, 1, 0]]


def test_l0_of_a_wide_code_in_half_precision_is_counted_exactly():
    l0 = l0_step(torch.ones(1, 1001, dtype=torch.bfloat16), torch.zeros(1001), 0.5)
    assert l0.dtype == torch.float32
    assert float(l0) == 1001


def test_a_target_by_hand():
    l0 = torch.tensor([30.0, 20.0, 10.0], requires_grad=True)
    loss = l0_target(l0, 20)
    assert loss.tolist() == [0.25, 0, 0.25]
    loss.sum().backward()
    assert l0.grad.tolist() == pytest.approx([0.05, 0, -0.05])  # 2 (L0/t − 1) / t


def test_each_sample_s_own_distance_is_this_and_the_variance():
    """As the docstring says how SAELens' coefficients translate."""
    torch.manual_seed(0)
    pre, threshold, target = torch.randn(200, 30, dtype=torch.float64), torch.rand(30, dtype=torch.float64), 4
    each = (pre > threshold).sum(1).double()
    theirs = (2 / target * (each - target) ** 2).mean()
    ours = 2 * target * l0_target(l0_step(pre, threshold, 1.0), target)
    torch.testing.assert_close(theirs, ours + 2 / target * each.var(unbiased=False))


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_tanh_and_its_gradients_are_the_formula(dtype):
    torch.manual_seed(0)
    z, norms = torch.rand(7, 5, dtype=dtype).requires_grad_(), torch.rand(5, dtype=dtype).requires_grad_()
    value, of_z, of_norms = 0.0, torch.zeros_like(z), torch.zeros_like(norms)
    for n in range(7):
        for i in range(5):
            t = math.tanh(4 * z[n, i].item() * norms[i].item())
            value += t / 7
            of_z[n, i] = (1 - t * t) * 4 * norms[i].detach() / 7
            of_norms[i] += (1 - t * t) * 4 * z[n, i].detach() / 7
    found = l0_tanh(z, norms)
    near(found, torch.tensor(value, dtype=dtype), dtype)
    for one, wanted in zip(torch.autograd.grad(found, (z, norms)), (of_z, of_norms), strict=True):
        near(one, wanted, dtype)
    near(l0_tanh(z, scale=2.0), torch.tanh(2 * z).sum(1).mean(), dtype)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_dead_latents_pay_for_their_distance_from_the_threshold(dtype):
    torch.manual_seed(0)
    pre, (threshold, norms) = torch.randn(7, 5, dtype=dtype), torch.rand(2, 5, dtype=dtype)
    dead = torch.tensor([True, False, True, False, True])
    value, of_pre, of_threshold = 0.0, torch.zeros_like(pre), torch.zeros_like(threshold)
    for n in range(7):
        for i in (0, 2, 4):
            missing = float(threshold[i] - pre[n, i])
            if missing > 0:
                value += missing * float(norms[i]) / 7
                of_pre[n, i] -= norms[i] / 7
                of_threshold[i] += norms[i] / 7
    pre.requires_grad_(), threshold.requires_grad_()
    found = pre_activation_loss(pre, threshold, dead, norms)
    near(found, torch.tensor(value, dtype=dtype), dtype)
    for one, wanted in zip(torch.autograd.grad(found, (pre, threshold)), (of_pre, of_threshold), strict=True):
        near(one, wanted, dtype)
    assert pre_activation_loss(pre, threshold, torch.zeros(5, dtype=torch.bool)).item() == 0


def test_a_population_has_the_losses_of_its_members():
    torch.manual_seed(0)
    pre, threshold, norms = torch.randn(3, 9, 4), torch.rand(3, 4), torch.rand(3, 4)
    dead = torch.rand(3, 4) < 0.5
    for loss in (
        lambda *s: l0_step(s[0], s[1], 0.5),
        lambda *s: l0_target(l0_step(s[0], s[1], 0.5), 2.0),
        lambda *s: l0_tanh(s[0].relu(), s[2]),
        lambda *s: pre_activation_loss(s[0], s[1], s[3], s[2]),
    ):
        together = loss(pre, threshold, norms, dead)
        assert together.shape == (3,)
        alone = [loss(*one) for one in zip(pre, threshold, norms, dead, strict=True)]
        torch.testing.assert_close(together, torch.stack(alone))
