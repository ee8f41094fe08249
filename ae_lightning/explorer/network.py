"""A chain of dense layers, which is all that the page has to compute."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from ae_lightning.explorer.code import IDENTITY, Activation

CODE = "code"
RECONSTRUCTION = "reconstruction"


@dataclass(frozen=True)
class DenseLayer:
    """activation(x · weight + bias): x (…, inputs) to (…, outputs).

    Args:
        name: What it gives: code, encoder 1, decoder 1, …, reconstruction.
        weight: (inputs, outputs), float32.
        bias: (outputs,), float32.
        activation: What the sums become.
    """

    name: str
    weight: Tensor
    bias: Tensor
    activation: Activation = IDENTITY

    def __call__(self, x: Tensor) -> Tensor:
        """Apply the layer."""
        return self.activation(torch.addmm(self.bias, x, self.weight))

    @property
    def is_finite(self) -> bool:
        """Whether all weights and biases are finite numbers."""
        return bool(self.weight.isfinite().all()) and bool(self.bias.isfinite().all())


@dataclass(frozen=True)
class Network:
    """Dense layers one after the other; the last gives the reconstruction, the others are hidden."""

    layers: tuple[DenseLayer, ...]

    @property
    def hidden(self) -> tuple[DenseLayer, ...]:
        """The hidden layers."""
        return self.layers[:-1]

    @property
    def code(self) -> int:
        """Which hidden layer is the code."""
        return [layer.name for layer in self.layers].index(CODE)

    @property
    def selects(self) -> bool:
        """Whether some activation jumps where two sums change places, or one crosses a threshold."""
        return any(layer.activation.selects for layer in self.layers)

    def outputs(self, x: Tensor) -> list[Tensor]:
        """What each layer gives, of samples (n, input): (n, units) for each hidden one, and (n, input)."""
        values = []
        for layer in self.layers:
            x = layer(x)
            values.append(x)
        return values

    def finish(self, number: int, values: Tensor) -> Tensor:
        """Reconstructions (n, input) from the activations (n, units) of a hidden layer."""
        for layer in self.layers[number + 1 :]:
            values = layer(values)
        return values

    def rows(self, number: int) -> Tensor:
        """The weight of a layer as it is stored: of the first what each unit reads, of others what each input writes.

        (units, input) of the first layer, (units of the layer before, outputs) of every other.
        """
        weight = self.layers[number].weight
        return weight.T if number == 0 else weight
