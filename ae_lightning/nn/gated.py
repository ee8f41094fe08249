"""Gated codes: one pre-activation decides whether a latent fires and how strongly (Rajamanoharan et al. 2024)."""

import torch
from torch import Tensor, nn

from ae_lightning.nn.code_activation import CodeActivation
from ae_lightning.nn.precision import KeepsPrecision, wide_dtype


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
        magnitude = pre * self.r_mag.exp().unsqueeze(-2) + self.b_mag.unsqueeze(-2)
        # Asked this way round, a NaN stays one and is seen.
        closed = pre.detach() <= -self.b_gate.detach().unsqueeze(-2)
        return magnitude.masked_fill(closed, 0).relu().to(pre.dtype)

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
