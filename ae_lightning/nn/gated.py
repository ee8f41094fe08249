"""Gated codes: one pre-activation decides whether a latent fires and how strongly (Rajamanoharan et al. 2024)."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ae_lightning.nn.block_code import BlockCode
from ae_lightning.nn.code_activation import CodeActivation
from ae_lightning.nn.elementwise import in_blocks, where_positive
from ae_lightning.nn.precision import KeepsPrecision, wide_dtype


class _Magnitudes(torch.autograd.Function):
    """1[pre + b_gate > 0] · ReLU(pre · e^r_mag + b_mag), of which nothing but the code itself is kept."""

    @staticmethod
    def forward(ctx: Any, pre: Tensor, b_gate: Tensor, b_mag: Tensor, r_mag: Tensor) -> Tensor:
        z, ratio = torch.empty_like(pre), r_mag.exp()
        wide = torch.promote_types(pre.dtype, ratio.dtype)
        for some, some_z, magnitude, gate in in_blocks(pre, z, spare=[wide, wide]):
            _fire(some, b_gate, b_mag, ratio, some_z, gate, magnitude)
        ctx.save_for_backward(z, b_mag, ratio)
        return z

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, Tensor, Tensor]:
        z, b_mag, ratio = ctx.saved_tensors
        of_pre = torch.empty_like(z)
        return of_pre, None, *_magnitude_gradients(gradient, z, b_mag, ratio, of_pre)


def _fire(
    pre: Tensor, b_gate: Tensor, b_mag: Tensor, ratio: Tensor, z: Tensor, gate: Tensor, magnitude: Tensor
) -> None:
    """Write the code, the gate's pre-activations π = pre + b_gate, and magnitudes, of some samples."""
    torch.addcmul(b_mag.unsqueeze(-2), pre, ratio.unsqueeze(-2), out=magnitude)
    torch.add(pre, b_gate.unsqueeze(-2), out=gate)
    where_positive(magnitude.relu_(), gate, out=z)


def _magnitude_gradients(
    gradient: Tensor, z: Tensor, b_mag: Tensor, ratio: Tensor, of_pre: Tensor
) -> tuple[Tensor, Tensor]:
    """Write the gradient of pre-activations, which may be where the code's is; give those of b_mag and r_mag.

    Where a latent fires the slope of its code is e^r_mag in pre, 1 in b_mag and z − b_mag in r_mag.
    """
    of_bias, of_code = torch.zeros_like(ratio), torch.zeros_like(ratio)
    for some, some_z, some_of_pre, passed in in_blocks(gradient, z, of_pre, spare=[gradient.dtype]):
        where_positive(some, some_z, out=passed)
        torch.mul(passed, ratio.unsqueeze(-2), out=some_of_pre)
        of_bias.add_(passed.sum(-2, dtype=ratio.dtype))
        of_code.add_(passed.mul_(some_z).sum(-2, dtype=ratio.dtype))
    return of_bias, of_code - b_mag * of_bias


class GatedCode(BlockCode):
    """The code of a gated dictionary, and ReLU(π), which is summed for its penalty."""

    codes, summed = 2, 1

    def __init__(self, b_gate: Tensor, b_mag: Tensor, r_mag: Tensor) -> None:
        self.parameters = b_gate, b_mag, r_mag
        self.ratio = r_mag.detach().exp()

    def encode(self, pre: Tensor, codes: Sequence[Tensor], at: Any) -> None:
        """Write 1[π > 0] · ReLU(pre · e^r_mag + b_mag) and ReLU(π)."""
        b_gate, b_mag, _ = (parameter[at] for parameter in self.parameters)
        for some, z, gate, magnitude in in_blocks(pre, *codes, spare=[pre.dtype]):
            _fire(some, b_gate, b_mag, self.ratio[at], z, gate, magnitude)
            gate.relu_()

    def backward(self, gradients: Sequence[Tensor], codes: Sequence[Tensor], at: Any) -> tuple[Tensor, ...]:
        """Both gradients where their code is above zero, that of the magnitude times e^r_mag."""
        (of_z, of_gate), (z, gate) = gradients, codes
        own = _magnitude_gradients(of_z, z, self.parameters[1][at], self.ratio[at], of_z)
        where_positive(of_gate, gate, out=of_gate)
        return of_z.add_(of_gate), of_gate.sum(0), *own


class Gated(KeepsPrecision, CodeActivation):
    """Code z = 1[pre + b_gate > 0] · ReLU(pre · e^r_mag + b_mag) of pre-activations without a bias.

    From "Improving dictionary learning with gated sparse autoencoders" (2404.16014). The weights of the magnitudes are
    those of the gate times e^r_mag, so that one product serves both. The gate is a step and gets no gradient from the
    code: b_gate lives from the penalty on ReLU(π) and from the auxiliary reconstruction from ReLU(π), with
    π = pre + b_gate, which is `scores`. Norms of decoder rows play no part, for a positive factor does not change a
    sign. The three vectors stay in float32 or wider.

    Args:
        latent_dim: Number of latents.
        instances: Number of independent copies, or None for a single one without the extra dimension.

    Shapes:
        b_gate, b_mag, r_mag (…, latent), all zero at the start.
    """

    def __init__(self, latent_dim: int, instances: int | None = None) -> None:
        super().__init__()
        shape = (latent_dim,) if instances is None else (instances, latent_dim)
        self.b_gate = nn.Parameter(torch.zeros(shape, dtype=wide_dtype()))
        self.b_mag = nn.Parameter(torch.zeros(shape, dtype=wide_dtype()))
        self.r_mag = nn.Parameter(torch.zeros(shape, dtype=wide_dtype()))

    def forward(self, pre: Tensor, norms: Tensor | None = None) -> Tensor:
        """Codes (…, batch, latent), in the format of `pre`; norms are not looked at."""
        z: Tensor = _Magnitudes.apply(pre, self.b_gate.detach(), self.b_mag, self.r_mag)
        return z

    def scores(self, pre: Tensor) -> Tensor:
        """π = pre + b_gate, (…, batch, latent), in the format of `pre`: a latent may fire where it is above zero."""
        return (pre + self.b_gate.unsqueeze(-2)).to(pre.dtype)

    def block_code(self) -> GatedCode | None:
        """The same of some latents at a time."""
        if type(self).forward is not Gated.forward or type(self).scores is not Gated.scores:
            return None
        return GatedCode(self.b_gate, self.b_mag, self.r_mag)

    @property
    def latent_axes(self) -> dict[nn.Parameter, int]:
        """All three have one entry for each latent."""
        return {self.b_gate: -1, self.b_mag: -1, self.r_mag: -1}

    @torch.no_grad()
    def reset_latents(self, which: Tensor) -> None:
        """Set all three to zero for the latents (…, latent) that are true."""
        for parameter in self.latent_axes:
            parameter.masked_fill_(which, 0)

    @torch.no_grad()
    def scale_latents(self, factor: Tensor) -> None:
        """Multiply both biases by a positive factor (…, latent); r_mag is a ratio, and stays."""
        self.b_gate.mul_(factor)
        self.b_mag.mul_(factor)
