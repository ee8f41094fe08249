"""Where a run is measured: on the device that it was trained on, where there is one."""

from collections.abc import Mapping
from typing import Any

import torch

from ae_lightning.errors import ConfigError


def device_of(config: Mapping[str, Any]) -> torch.device:
    """The kind of device that a run's settings ask for, and this machine has; else the CPU."""
    accelerator = (config.get("trainer") or {}).get("accelerator", "auto")
    for kind in ("cuda", "mps"):
        if accelerator in ("auto", "gpu", kind) and _is_there(kind):
            return torch.device(kind)
    return torch.device("cpu")


def chosen_device(name: str) -> torch.device:
    """A device by its name, such as cpu, cuda, cuda:1 or mps.

    Raises:
        ConfigError: There is no such device here.
    """
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ConfigError(f"--device is {name}; it can be cpu, cuda, cuda:1 and so on, or mps") from None
    count = torch.cuda.device_count() if device.type == "cuda" else 1
    if not _is_there(device.type) or (device.index or 0) >= count:
        raise ConfigError(f"--device is {name}, but this machine has no such device; cpu is always there")
    return device


def _is_there(kind: str) -> bool:
    if kind == "cuda":
        return torch.cuda.is_available()
    return kind == "cpu" or (kind == "mps" and torch.backends.mps.is_available())
