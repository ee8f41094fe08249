"""Gradients clipped: of a population each instance's by itself, and in mixed precision without a scaled loss."""

from collections.abc import Iterable

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.plugins.precision import MixedPrecision, Precision
from lightning.pytorch.utilities import GradClipAlgorithmType
from torch import nn
from torch.optim import Optimizer

_ROUNDING = 1e-6  # as torch's own clipping has it


class Clipping(LightningModule):
    """A module whose gradients are clipped as Lightning does, but for what it cannot do."""

    instances: int | None

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the instances of a population each by the norm of its own.

        Lightning refuses to clip beside a fused optimizer in mixed precision, for the sake of losses that are scaled;
        in bfloat16 none is.
        """
        plugin = self.trainer.precision_plugin
        if gradient_clip_val and self.instances is not None and gradient_clip_algorithm != "value":
            clip_each((p for group in optimizer.param_groups for p in group["params"]), gradient_clip_val)
        elif gradient_clip_val and isinstance(plugin, MixedPrecision) and plugin.scaler is None:
            algorithm = GradClipAlgorithmType(gradient_clip_algorithm or "norm")
            Precision.clip_gradients(plugin, optimizer, gradient_clip_val, algorithm)
        else:
            super().configure_gradient_clipping(optimizer, gradient_clip_val, gradient_clip_algorithm)


@torch.no_grad()
def clip_each(parameters: Iterable[nn.Parameter], largest: float) -> None:
    """Scale the gradient of each instance so that its norm, over all parameters, is at most `largest`.

    The factor is that of `torch.nn.utils.clip_grad_norm_`. Nothing waits for the device.

    Args:
        parameters: Of a population: (instances, …).
        largest: Norm above which a gradient is scaled.
    """
    gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if not gradients:
        return
    norms = torch.stack([torch.linalg.vector_norm(gradient.flatten(1), dim=1) for gradient in gradients])
    factors = (largest / (torch.linalg.vector_norm(norms, dim=0) + _ROUNDING)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(factors.view(-1, *[1] * (gradient.ndim - 1)).to(gradient.dtype))
