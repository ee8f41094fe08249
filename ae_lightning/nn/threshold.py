"""Activations of a code: those of `ActivationName`, and two that leave a band around zero silent on both sides."""

from typing import Literal

from torch import nn

from ae_lightning.nn.activations import ActivationName, activation

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
