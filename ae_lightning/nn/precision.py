"""Number formats: of samples beside a module's weights, and of sums that half precision cannot hold."""

from collections.abc import Callable

import torch
from torch import Tensor, nn


def at_least_float32(x: Tensor) -> Tensor:
    """The tensor itself, or what it holds in float32 where it is narrower: 8 bits do not suffice to sum hundreds."""
    return x if x.dtype in (torch.float32, torch.float64) else x.float()


def like_weights(module: nn.Module, x: Tensor) -> Tensor:
    """Samples or codes on the device and in the format of a module's weights; as they are if it has none."""
    parameter = next(module.parameters(), None)
    return x if parameter is None else x.to(parameter.device, parameter.dtype)


def adding_device(device: torch.device | str) -> torch.device:
    """Where sums in float64 of what a device computes are kept: there, or on the CPU if it has no float64 (Apple's)."""
    device = torch.device(device)
    return torch.device("cpu") if device.type == "mps" else device


def wide_dtype() -> torch.dtype:
    """Format of numbers that stay wide whatever a model is made in: torch's default, or float32 if that is narrower."""
    return torch.promote_types(torch.get_default_dtype(), torch.float32)


class KeepsPrecision(nn.Module):
    """A module whose own tensors stay in float32 or wider when it is cast, itself or within another.

    `half()` and `to(torch.bfloat16)` leave them in float32, with all their digits; `double()` widens them. They move
    to other devices as everything does. Make them in `wide_dtype()`, for a model may be made in half precision.
    """

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "KeepsPrecision":
        own = (*self.parameters(recurse=False), *self.buffers(recurse=False))
        kept = [tensor for tensor in own if tensor.is_floating_point()]
        kept += [tensor.grad for tensor in kept if tensor.grad is not None]

        def widely(x: Tensor) -> Tensor:
            cast = fn(x)
            if not cast.is_floating_point() or not any(x is tensor for tensor in kept):
                return cast
            wide = torch.promote_types(cast.dtype, torch.float32)
            return cast if cast.dtype == wide else x.to(cast.device, wide)

        super()._apply(widely, recurse)
        return self
