"""Number formats: of samples beside a module's weights, and of sums that half precision cannot hold."""

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
