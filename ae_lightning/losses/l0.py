"""Penalties on how many latents are active, L0, for codes whose firing has a gradient.

All are means over the batch and sums over latents, one value for each instance, in float32 or wider.
"""

import torch
from torch import Tensor

from ae_lightning.nn.precision import at_least_float32


def l0_step(steps: Tensor) -> Tensor:
    """Active latents of a sample: Σ 1[fires] (Rajamanoharan et al. 2024, arXiv 2407.14435).

    Args:
        steps: 1 where a latent fires, else 0, (…, batch, latent), with a gradient as `nn.jumprelu.step` has it.

    Returns:
        (…,).
    """
    return at_least_float32(steps).sum(-1).mean(-1)


def l0_target(steps: Tensor, target: float) -> Tensor:
    """How far the batch's mean L0 is from a target: (L0 / target − 1)².

    As dictionary_learning has it. SAELens has the mean over samples of (2 / target) (L0 − target)², of each sample's
    own L0, which holds samples to the same number too.

    Args:
        steps: As for `l0_step`.
        target: Active latents wanted on average, above 0.

    Returns:
        (…,).
    """
    return (l0_step(steps) / target - 1).square()


def l0_tanh(z: Tensor, norms: Tensor | None = None, scale: float = 4.0) -> Tensor:
    """A smooth L0: Σ tanh(scale · z · ‖w‖) (Anthropic, January 2025, "Circuits updates").

    Args:
        z: Codes (…, batch, latent), nowhere negative.
        norms: Norms ‖w‖ of the decoder's rows (…, latent); None for rows of norm 1.
        scale: How soon an activation counts as one latent.

    Returns:
        (…,).
    """
    weighed = at_least_float32(z) if norms is None else at_least_float32(z) * norms.unsqueeze(-2)
    return torch.tanh(scale * weighed).sum(-1).mean(-1)


def below_threshold(pre: Tensor, threshold: Tensor, dead: Tensor, norms: Tensor | None = None) -> Tensor:
    """How far dead latents are from firing: Σ over the dead of ReLU(θ − pre) · ‖w‖ (Anthropic, January 2025).

    Args:
        pre: Pre-activations (…, batch, latent).
        threshold: θ (…, latent).
        dead: Which latents are dead (…, latent).
        norms: Norms of the decoder's rows (…, latent); None for rows of norm 1.

    Returns:
        (…,).
    """
    weight = dead if norms is None else dead * norms
    return ((threshold.unsqueeze(-2) - at_least_float32(pre)).relu() * weight.unsqueeze(-2)).sum(-1).mean(-1)
