"""Losses of JumpReLU dictionaries: the number of active latents, two softer forms of it, and one for dead latents.

Each gives one value for each instance, (…) from (…, batch, latent), which is a scalar where there are no instances:
a mean over the batch and a sum over latents, in float32 or wider.
"""

import torch
from torch import Tensor

from ae_lightning.nn.jumprelu import step
from ae_lightning.nn.precision import at_least_float32


def l0_step(pre: Tensor, threshold: Tensor, bandwidth: float, to_pre: bool = False) -> Tensor:
    """L0, the mean number of active latents, whose gradient reaches θ alone (Rajamanoharan et al. 2024, 2407.14435).

    Args:
        pre: Pre-activations (…, batch, latent).
        threshold: θ (…, latent).
        bandwidth: ε, in the units of pre-activations.
        to_pre: Whether pre-activations get the gradient too, see `nn.jumprelu.step`.
    """
    fires = step(pre, threshold, bandwidth, to_pre)
    return fires.sum(dim=-1, dtype=_sum_dtype(pre)).mean(dim=-1)


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


def _sum_dtype(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)
