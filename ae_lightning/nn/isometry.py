"""How far a decoder is from keeping the shape of the space of codes."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd import grad

from ae_lightning.nn.precision import at_least_float32


def relaxed_distortion(decoder: Callable[[Tensor], Tensor], z: Tensor) -> Tensor:
    """Distance of H = JᵀJ from one multiple c·I of the identity, J being the decoder's Jacobian at each code.

    Estimates m E[tr H²] / E[tr H]² − 1, with m latents and means over the codes: the squared coefficient of variation
    of all eigenvalues of all H together. It is zero just where the decoder stretches every direction by the same √c,
    and at every code; it does not depend on c. One random unit vector v for each code stands for all directions:
    E‖Hv‖² / (E‖Jv‖²)² − 1, which is never negative, and is zero for such a decoder whatever is drawn.

    Source: the relaxed distortion measure of Lee et al. (2022), "Regularized autoencoders for isometric
    representation learning", here at the codes themselves and not between them, with unit vectors in place of normal
    ones, and scaled by m and shifted by 1 so that the best value is 0.

    Args:
        decoder: Takes (batch, latent) to (batch, …); no sample's output depends on another's code.
        z: Codes (batch, latent), in the precision of the decoder's weights. No gradient flows to them: the decoder is
            to change, not where it is asked.

    Returns:
        A scalar, in float32 or wider. Directions come from torch's global random numbers.
    """
    z = z.detach()
    v = F.normalize(torch.randn_like(z), dim=-1)
    # Fourth powers of bfloat16 would be mostly rounding.
    with torch.enable_grad(), torch.autocast(z.device.type, enabled=False):
        x_hat = decoder(z.requires_grad_())
        # Jᵀu is linear in u, and its derivative with respect to u along v is Jv: reverse mode twice is forward mode.
        u = torch.zeros_like(x_hat, requires_grad=True)
        (pulled_back,) = grad(x_hat, z, u, create_graph=True)
        (jv,) = grad(pulled_back, u, v, create_graph=True)
        (hv,) = grad(x_hat, z, jv, create_graph=True)
        return _mean_square_length(hv) / _mean_square_length(jv).square() - 1


def _mean_square_length(vectors: Tensor) -> Tensor:
    return at_least_float32(vectors).flatten(1).square().sum(-1).mean()
