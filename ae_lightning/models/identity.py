"""What marks a checkpoint: the class of its model, and settings that load without pickled code."""

from typing import Any

import numpy as np
from torch import nn

from ae_lightning.version import __version__

_PLAIN = (bool, int, float, str, type(None))


def stamp_identity(model: nn.Module, checkpoint: dict[str, Any]) -> None:
    """Write the model's class into the checkpoint, and keep only hyper-parameters that load without pickled code.

    Lightning keeps the class path only for models made by its command line, and would try to pickle a Python
    caller's optimizer function.
    """
    kind = type(model)
    checkpoint["autoencoder"] = {
        "class_path": f"{kind.__module__}.{kind.__qualname__}",
        "version": __version__,
    }
    stored = checkpoint.get("hyper_parameters", {})
    native = {name: _native(value) for name, value in stored.items()}
    checkpoint["hyper_parameters"] = {name: value for name, value in native.items() if _is_plain(value)}


def _native(value: Any) -> Any:
    """The value with numpy's numbers, as a sweep may give, turned into Python's."""
    if isinstance(value, dict):
        return {key: _native(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        copies = [_native(inner) for inner in value]
        return tuple(copies) if isinstance(value, tuple) else copies
    return value.item() if isinstance(value, np.generic) else value


def _is_plain(value: Any) -> bool:
    if isinstance(value, dict):
        return all(_is_plain(v) for v in value.values())
    if isinstance(value, (list, tuple)):
        return all(_is_plain(v) for v in value)
    return isinstance(value, _PLAIN)
