"""Activations by name: of layers, with the range each can reach, and of codes, with two thresholds beside them."""

import math
from typing import Literal

from torch import nn

ActivationName = Literal["relu", "leaky_relu", "elu", "gelu", "tanh", "sigmoid", "none"]
"""The names accepted wherever an activation is asked for; `none` is the identity (a linear layer)."""

_MODULES: dict[str, type[nn.Module]] = {
    "relu": nn.ReLU,
    "leaky_relu": nn.LeakyReLU,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "tanh": nn.Tanh,
    "sigmoid": nn.Sigmoid,
    "none": nn.Identity,
}

ACTIVATIONS = tuple(_MODULES.values())
"""The modules behind the names."""

# Lower bounds of smooth activations are the minima of their curves.
_RANGES = {
    "relu": (0.0, math.inf),
    "leaky_relu": (-math.inf, math.inf),
    "elu": (-1.0, math.inf),
    "gelu": (-0.17, math.inf),
    "tanh": (-1.0, 1.0),
    "sigmoid": (0.0, 1.0),
    "none": (-math.inf, math.inf),
}


def activation(name: ActivationName, inplace: bool = False) -> nn.Module:
    """Return a new module that applies the activation called `name`.

    Args:
        name: One of `ActivationName`.
        inplace: Whether a ReLU may overwrite its input, of which its gradient needs nothing but the output.

    Raises:
        ValueError: `name` is not one of `ActivationName`.
    """
    _check(name)
    return nn.ReLU(inplace=True) if inplace and name == "relu" else _MODULES[name]()


def activation_range(name: ActivationName) -> tuple[float, float]:
    """Return the lowest and highest value that the activation called `name` can produce.

    Raises:
        ValueError: `name` is not one of `ActivationName`.
    """
    _check(name)
    return _RANGES[name]


def _check(name: str) -> None:
    if name not in _MODULES:
        raise ValueError(f"unknown activation {name!r}; known are {', '.join(_MODULES)}")


LatentActivationName = Literal[ActivationName, "soft_threshold", "hard_threshold"]
"""The names accepted for a code.

`soft_threshold` is sign(z) max(|z| − t, 0), the proximal operator of the L1 penalty: what passes is drawn towards zero
by t. `hard_threshold` is z where |z| > t and 0 elsewhere: what passes is left as it is, with a jump at ±t.
"""


def latent_activation(name: LatentActivationName, threshold: float) -> nn.Module:
    """Return a new module that applies the activation called `name`.

    Args:
        name: One of `LatentActivationName`.
        threshold: t of the two thresholds, at least 0; the others have none.

    Raises:
        ValueError: `name` is not one of `LatentActivationName`.
    """
    if name == "soft_threshold":
        return nn.Softshrink(threshold)
    if name == "hard_threshold":
        return nn.Hardshrink(threshold)
    return activation(name)
