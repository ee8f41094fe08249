"""JumpReLU: a threshold for each latent, learned through a discontinuity."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from ae_lightning.nn.code_activation import CodeActivation, Reduce
from ae_lightning.nn.precision import KeepsPrecision, at_least_float32, wide_dtype


class JumpReLU(KeepsPrecision, CodeActivation):
    """z = pre where pre > θ, else 0, with a threshold θ ≥ 0 of each latent.

    θ has the units of pre-activations, is compared with them as they are, whatever the decoder's norms, and is kept in
    float32 or wider. It is drawn back to 0 after each optimizer step that took it below. Its gradient is the expected
    one, estimated from pre-activations within half a `bandwidth` of θ, in the same units.

    Source: Rajamanoharan et al. (2024), "Jumping ahead", arXiv 2407.14435.

    Args:
        latent_dim: Number of latents.
        instances: Independent copies, or None for a single one.
        threshold: Where each θ starts.
        bandwidth: ε, the width of the window whose pre-activations tell θ its gradient. Where it is far below the
            spread of pre-activations hardly a sample does.
    """

    def __init__(
        self, latent_dim: int, instances: int | None = None, threshold: float = 0.001, bandwidth: float = 0.001
    ) -> None:
        super().__init__()
        shape = (latent_dim,) if instances is None else (instances, latent_dim)
        self.start = threshold
        self.bandwidth = bandwidth
        self.threshold = nn.Parameter(torch.full(shape, threshold, dtype=wide_dtype()))

    def forward(self, pre: Tensor, norms: Tensor | None = None) -> Tensor:
        """Codes (…, batch, latent); norms do not matter where each latent has a threshold of its own."""
        return jump(pre, self.threshold, self.bandwidth)

    def steps(self, pre: Tensor, to_input: bool = False) -> Tensor:
        """1 where a latent fires, else 0, (…, batch, latent), with a gradient for θ; see `step`."""
        return step(pre, self.threshold, self.bandwidth, to_input)

    @property
    def latent_axes(self) -> dict[nn.Parameter, int]:
        """The thresholds."""
        return {self.threshold: -1}

    @torch.no_grad()
    def reset_latents(self, which: Tensor) -> None:
        """Put thresholds back to where they started."""
        self.threshold[which] = self.start

    @torch.no_grad()
    def scale_latents(self, factor: Tensor) -> None:
        """Multiply thresholds as pre-activations are."""
        self.threshold.mul_(factor)

    @torch.no_grad()
    def advance(self, reduce: Reduce) -> None:
        """Draw thresholds back to 0 where a step took them below."""
        self.threshold.clamp_(min=0)

    def measures(self) -> dict[str, Tensor]:
        """The mean threshold."""
        return {"threshold": self.threshold.detach().mean()}


def jump(pre: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
    """z = pre · 1[pre > θ]; ∂/∂θ = −(θ/ε) · 1[|pre − θ| < ε/2] stands for a derivative that is 0 almost everywhere.

    Args:
        pre: Pre-activations (…, batch, latent).
        threshold: θ (…, latent), float32 or wider.
        bandwidth: ε, in the units of both.
    """
    return _Jump.apply(pre, threshold, bandwidth)


def step(pre: Tensor, threshold: Tensor, bandwidth: float, to_input: bool = False) -> Tensor:
    """1[pre > θ], with ∂/∂θ = −(1/ε) · 1[|pre − θ| < ε/2].

    Args:
        pre: Pre-activations (…, batch, latent).
        threshold: θ (…, latent), float32 or wider.
        bandwidth: ε, in the units of both.
        to_input: Whether pre-activations get the same gradient with the other sign, as Anthropic has it (January 2025,
            "Circuits updates"); else they get none.
    """
    return _Step.apply(pre, threshold, bandwidth, to_input)


class _Jump(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, pre: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
        ctx.save_for_backward(pre, threshold)
        ctx.bandwidth = bandwidth
        return torch.where(pre > threshold.unsqueeze(-2), pre, 0)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        pre, threshold = ctx.saved_tensors
        near = _near(grad, pre, threshold, ctx.bandwidth)
        through = torch.where(pre > threshold.unsqueeze(-2), grad, 0)
        return through, (-threshold / ctx.bandwidth * near.sum(-2)).to(threshold.dtype), None


class _Step(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, pre: Tensor, threshold: Tensor, bandwidth: float, to_input: bool) -> Tensor:
        ctx.save_for_backward(pre, threshold)
        ctx.bandwidth, ctx.to_input = bandwidth, to_input
        return (pre > threshold.unsqueeze(-2)).to(threshold.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, None, None]:
        pre, threshold = ctx.saved_tensors
        near = _near(grad, pre, threshold, ctx.bandwidth) / ctx.bandwidth
        return near.to(pre.dtype) if ctx.to_input else None, -near.sum(-2), None, None


def _near(grad: Tensor, pre: Tensor, threshold: Tensor, bandwidth: float) -> Tensor:
    """The gradient where a pre-activation lies in the window around its threshold, in float32 or wider."""
    return torch.where((pre - threshold.unsqueeze(-2)).abs() < bandwidth / 2, at_least_float32(grad), 0)
