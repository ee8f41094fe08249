"""Losses of JumpReLU dictionaries: the number of active latents, two softer forms of it, and one for dead latents.

Each gives one value for each instance, (…) from (…, batch, latent), which is a scalar where there are no instances:
a mean over the batch and a sum over latents, in float32 or wider.
"""

from typing import Any

import torch
from torch import Tensor

from ae_lightning.nn.elementwise import in_blocks
from ae_lightning.nn.precision import at_least_float32


def l0_step(pre: Tensor, threshold: Tensor, bandwidth: float, to_pre: bool = False) -> Tensor:
    """L0, the mean number of active latents, whose gradient reaches θ alone (Rajamanoharan et al. 2024, 2407.14435).

    The step 1[pre > θ] has no slope. A straight-through estimator takes its place, −(1 / ε) for θ where a
    pre-activation lies within half a bandwidth ε of it.

    Args:
        pre: Pre-activations (…, batch, latent).
        threshold: θ (…, latent).
        bandwidth: ε, in the units of pre-activations.
        to_pre: Whether pre-activations there get 1 / ε too; in the paper they get nothing.
    """
    l0: Tensor = _Step.apply(pre, threshold, bandwidth, to_pre)
    return l0


class _Step(torch.autograd.Function):
    """Counts in the forward pass what the gradient of θ needs, so that no array of the code's size is kept for it."""

    @staticmethod
    def forward(ctx: Any, pre: Tensor, threshold: Tensor, bandwidth: float, to_pre: bool) -> Tensor:
        active, near, windows = [], torch.zeros_like(threshold), []
        wide = torch.promote_types(pre.dtype, threshold.dtype)
        for some, above, fires in in_blocks(pre, spare=[wide, wide]):
            torch.sub(some, threshold.unsqueeze(-2), out=above)
            active.append(torch.gt(above, 0, out=fires).sum(-1))
            within = above.abs_().lt_(bandwidth / 2)
            near.add_(within.sum(-2))
            if to_pre:
                windows.append(within.bool())
        ctx.save_for_backward(near, *([torch.cat(windows, -2)] if to_pre else []))
        ctx.dtype, ctx.divisor = pre.dtype, bandwidth * pre.shape[-2]
        return torch.cat(active, -1).mean(-1)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, None, None]:
        near, *window = ctx.saved_tensors
        each = gradient / ctx.divisor
        of_pre = (window[0] * each[..., None, None]).to(ctx.dtype) if window else None
        return of_pre, _of_threshold(each, near), None, None


def l0_of_counts(active: Tensor, near: Tensor, threshold: Tensor, samples: int, bandwidth: float) -> Tensor:
    """The same as `l0_step` where active latents, and samples within the window, have been counted.

    Args:
        active: Active latents of all samples, (…).
        near: Samples whose pre-activation of a latent lies within half a bandwidth of its θ, (…, latent).
        threshold: θ (…, latent).
        samples: How many samples they are counts of.
        bandwidth: ε, in the units of pre-activations.
    """
    l0: Tensor = _Counted.apply(active, near, threshold, samples, bandwidth)
    return l0


class _Counted(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, active: Tensor, near: Tensor, threshold: Tensor, samples: int, bandwidth: float) -> Tensor:
        ctx.save_for_backward(near)
        ctx.divisor = bandwidth * samples
        return (active / samples).to(threshold.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, None, Tensor, None, None]:
        (near,) = ctx.saved_tensors
        return None, None, _of_threshold(gradient / ctx.divisor, near), None, None


def _of_threshold(each: Tensor, near: Tensor) -> Tensor:
    """Gradient of θ from what each sample within the window adds, (…)."""
    return (-each.unsqueeze(-1) * near).to(near.dtype)


def l0_tanh(z: Tensor, norms: Tensor | None = None, scale: float = 4.0) -> Tensor:
    """Σ tanh(c · z · norm), an L0 that small activations count for less in (Anthropic, January 2025 update).

    Args:
        z: Codes (…, batch, latent), nowhere negative.
        norms: Norms of decoder rows (…, latent), which get a gradient unless they are detached; None weighs all alike.
        scale: c, per unit of z · norm.
    """
    z = at_least_float32(z)
    weighted = z if norms is None else z * norms.unsqueeze(-2)
    return (scale * weighted).tanh().sum(dim=-1).mean(dim=-1)


def l0_target(l0: Tensor, target: float) -> Tensor:
    """(L0 / target − 1)², which is least where the *mean* over the batch is the target (dictionary_learning).

    Samples may differ in how many latents they need. SAELens squares each sample's own distance instead, as
    (2 / target) (L0 − target)², and so asks for the same number on each: 2 · target times this one, plus
    (2 / target) times the variance of L0 over samples. Its coefficients are to be multiplied by 2 · target here.

    Args:
        l0: L0 of a batch, (…), as `l0_step` gives it. With accumulated gradients or several processes each piece of a
            batch has a square of its own.
        target: L0 to be held, above 0.
    """
    return (l0 / target - 1).square()


def pre_activation_loss(pre: Tensor, threshold: Tensor, dead: Tensor, norms: Tensor | None = None) -> Tensor:
    """Σ ReLU(θ − pre) · norm over dead latents, which draws them to their threshold and it to them.

    From Anthropic's January 2025 update, which sums over all latents with a coefficient of 3e-6; over the dead alone
    as in SAELens.

    Args:
        pre: Pre-activations (…, batch, latent).
        threshold: θ (…, latent).
        dead: Which latents are dead, (…, latent).
        norms: Norms of decoder rows (…, latent), which get a gradient unless they are detached; None weighs all alike.
    """
    missing = (threshold.unsqueeze(-2) - at_least_float32(pre)).relu().mean(dim=-2)
    weighted = missing if norms is None else missing * norms
    return torch.where(dead, weighted, 0).sum(dim=-1)
