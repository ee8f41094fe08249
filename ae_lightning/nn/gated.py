"""A gated code: whether a latent fires and how much are read from one product."""

import torch
from torch import Tensor, nn

from ae_lightning.nn.code_activation import CodeActivation


class Gated(CodeActivation):
    """z = 1[pre + b_gate > 0] · ReLU(pre · e^r_mag + b_mag), over pre-activations without a bias.

    The gate gets no gradient from the code: what teaches it is the loss of `GatedSAE`.

    Source: Rajamanoharan et al. (2024), "Improving dictionary learning with gated sparse autoencoders", arXiv
    2404.16014.

    Args:
        latent_dim: Number of latents.
        instances: Independent copies, or None for a single one.
    """

    def __init__(self, latent_dim: int, instances: int | None = None) -> None:
        super().__init__()
        shape = (latent_dim,) if instances is None else (instances, latent_dim)
        self.b_gate, self.b_mag, self.r_mag = (nn.Parameter(torch.zeros(shape)) for _ in range(3))

    def forward(self, pre: Tensor, norms: Tensor | None = None) -> Tensor:
        """Codes (…, batch, latent); norms do not matter where each latent has a gate of its own."""
        magnitude = pre * self.r_mag.exp().unsqueeze(-2) + self.b_mag.unsqueeze(-2)
        return torch.where(self.scores(pre) > 0, magnitude.relu(), 0)

    def scores(self, pre: Tensor) -> Tensor:
        """π = pre + b_gate: a latent's gate is open where it is above zero."""
        return pre + self.b_gate.unsqueeze(-2)

    @property
    def latent_axes(self) -> dict[nn.Parameter, int]:
        """Both biases and the rescaling."""
        return {self.b_gate: -1, self.b_mag: -1, self.r_mag: -1}

    @torch.no_grad()
    def reset_latents(self, which: Tensor) -> None:
        """Put biases and rescaling back to zero."""
        for parameter in self.latent_axes:
            parameter[which] = 0.0

    @torch.no_grad()
    def scale_latents(self, factor: Tensor) -> None:
        """Multiply both biases as pre-activations are."""
        self.b_gate.mul_(factor)
        self.b_mag.mul_(factor)
