"""What turns the sums of a layer into activations, in numbers alone, whatever class of a model it comes from."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from ae_lightning.nn.activations import LatentActivationName, latent_activation
from ae_lightning.nn.code_activation import CodeActivation

Parameter = int | bool | Tensor


@dataclass(frozen=True)
class Elementwise:
    """A function of each sum alone.

    Args:
        name: Its name.
        threshold: That of the two functions that have one.
    """

    name: LatentActivationName = "none"
    threshold: float | None = None
    selects: ClassVar[bool] = False

    @property
    def is_rectified(self) -> bool:
        """Whether a unit can be silent, exactly zero on a whole range of inputs."""
        return self.name in ("relu", "soft_threshold", "hard_threshold")

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """None that move with training."""
        return {}

    def __call__(self, sums: Tensor) -> Tensor:
        """Activations (n, units) of sums (n, units)."""
        return latent_activation(self.name, self.threshold or 0.0)(sums)


IDENTITY = Elementwise()


@dataclass(frozen=True)
class TopK:
    """The k largest sums of a sample, where they are above zero (Gao et al. 2024); all others give zero.

    Of equal sums either may be taken, as PyTorch leaves it open; the page takes the unit with the smaller number.

    Args:
        k: How many.
        groups: Whether it is the largest of each of k groups of units that lie beside each other.
    """

    k: int
    groups: bool = False
    name: ClassVar[str] = "topk"
    selects: ClassVar[bool] = True
    is_rectified: ClassVar[bool] = True

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """K and groups, as the page and the data file name them."""
        return {"k": self.k, "groups": self.groups}

    def __call__(self, sums: Tensor) -> Tensor:
        """Activations (n, units) of sums (n, units)."""
        rows = sums.unflatten(-1, (self.k, -1)) if self.groups else sums
        values, places = rows.topk(1 if self.groups else self.k, dim=-1)
        return torch.zeros_like(rows).scatter(-1, places, values.relu()).reshape(sums.shape)


@dataclass(frozen=True)
class Threshold:
    """A sum as it is where it is above a threshold and above zero: BatchTopK once trained, and JumpReLU.

    Args:
        threshold: One for all units, float32 (), or one for each, (units,).
    """

    threshold: Tensor
    name: ClassVar[str] = "threshold"
    selects: ClassVar[bool] = True
    is_rectified: ClassVar[bool] = True

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The threshold."""
        return {"threshold": self.threshold}

    def __call__(self, sums: Tensor) -> Tensor:
        """Activations (n, units) of sums (n, units)."""
        return sums.masked_fill((sums <= self.threshold) | (sums <= 0), 0)


@dataclass(frozen=True)
class Gated:
    """relu(sum · factor + magnitude_bias) where sum + gate_bias is above zero (Rajamanoharan et al. 2024).

    Args:
        gate_bias: float32 (units,).
        factor: What sums are multiplied by, above zero, float32 (units,).
        magnitude_bias: float32 (units,).
    """

    gate_bias: Tensor
    factor: Tensor
    magnitude_bias: Tensor
    name: ClassVar[str] = "gated"
    selects: ClassVar[bool] = True
    is_rectified: ClassVar[bool] = True

    @property
    def parameters(self) -> Mapping[str, Parameter]:
        """The biases and the factor."""
        return {"gate_bias": self.gate_bias, "factor": self.factor, "magnitude_bias": self.magnitude_bias}

    def __call__(self, sums: Tensor) -> Tensor:
        """Activations (n, units) of sums (n, units)."""
        return (sums * self.factor + self.magnitude_bias).relu() * (sums + self.gate_bias > 0)


Activation = Elementwise | TopK | Threshold | Gated
"""Each says its `name`; its `parameters`, which may differ between moments of the training; whether a unit of it can be
silent (`is_rectified`); and whether it `selects`: then activations jump where two sums change places or one crosses a
threshold, so that sums have to be exact."""


def code_of(activation: CodeActivation, own: Callable[[Tensor], Tensor]) -> Activation | None:
    """What an activation of a code does in evaluation; None if it is of no kind that the page computes.

    Its kind is told by what it has, so that an activation of a user's own counts as well: `b_gate`, `b_mag` and `r_mag`
    (Gated), `inference_threshold` (BatchTopK) or `threshold` (JumpReLU), or `groups` beside `k` (TopK). Whether it does
    what these say is for `check_network` to find out.

    Args:
        activation: The module.
        own: Gives the part of a tensor that belongs to the shown instance, detached.
    """
    has: Any = activation
    if hasattr(activation, "r_mag"):
        return Gated(own(has.b_gate), own(has.r_mag).exp(), own(has.b_mag))
    for name in ("inference_threshold", "threshold"):
        if hasattr(activation, name):
            return Threshold(own(getattr(activation, name)))
    return TopK(int(has.k), bool(has.groups)) if hasattr(activation, "groups") else None
