"""Gated codes: one pre-activation decides whether a latent fires and how strongly (Rajamanoharan et al. 2024)."""

from typing import Any

import torch
from torch import Tensor, nn

from ae_lightning.nn.code_activation import CodeActivation
from ae_lightning.nn.elementwise import in_blocks, where_positive
from ae_lightning.nn.precision import KeepsPrecision, wide_dtype


class _Magnitudes(torch.autograd.Function):
    """1[pre + b_gate > 0] · ReLU(pre · e^r_mag + b_mag), of which nothing but pre and the code itself is kept."""

    @staticmethod
    def forward(ctx: Any, pre: Tensor, b_gate: Tensor, b_mag: Tensor, r_mag: Tensor) -> Tensor:
        z, ratio = torch.empty_like(pre), r_mag.exp()
        wide = torch.promote_types(pre.dtype, ratio.dtype)
        for some, some_z, magnitude, gate in in_blocks(pre, z, spare=[wide, wide]):
            torch.addcmul(b_mag.unsqueeze(-2), some, ratio.unsqueeze(-2), out=magnitude)
            torch.add(some, b_gate.unsqueeze(-2), out=gate)
            where_positive(magnitude.relu_(), gate, out=some_z)
        ctx.save_for_backward(pre, z, ratio)
        return z

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, Tensor, Tensor]:
        pre, z, ratio = ctx.saved_tensors
        of_pre, of_bias, of_ratio = torch.empty_like(pre), torch.zeros_like(ratio), torch.zeros_like(ratio)
        for some, some_pre, some_z, some_of_pre, passed in in_blocks(gradient, pre, z, of_pre, spare=[gradient.dtype]):
            where_positive(some, some_z, out=passed)
            torch.mul(passed, ratio.unsqueeze(-2), out=some_of_pre)
            of_bias.add_(passed.sum(-2, dtype=ratio.dtype))
            of_ratio.add_(passed.mul_(some_pre).sum(-2, dtype=ratio.dtype))
        return of_pre, None, of_bias, of_ratio * ratio


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
