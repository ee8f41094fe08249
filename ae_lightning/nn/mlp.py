"""A stack of fully connected layers."""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from ae_lightning.nn.activations import ActivationName, activation
from ae_lightning.nn.layers import Layers


class MLP(Layers):
    """Fully connected layers of the given widths, each an `nn.Sequential` of its own.

    A hidden layer is Linear, activation, then BatchNorm and Dropout where they are wanted; the last layer is Linear
    and activation.

    Args:
        widths: Input width, hidden widths and output width, in order: at least two numbers.
        hidden_activation: Activation of every layer but the last.
        output_activation: Activation of the last layer.
        batch_norm: Whether hidden layers normalize their activations over the batch.
        dropout: Part of a hidden layer's activations that is set to zero in training, drawn anew for each sample.

    Shapes: input (batch, widths[0]), output (batch, widths[-1]).
    """

    def __init__(
        self,
        widths: Sequence[int],
        hidden_activation: ActivationName = "relu",
        output_activation: ActivationName = "none",
        batch_norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        *hidden, last = pairwise(widths)
        layers = [_hidden_layer(*sizes, hidden_activation, batch_norm, dropout) for sizes in hidden]
        super().__init__(*layers, nn.Sequential(nn.Linear(*last), *_optional(output_activation)))


def _hidden_layer(fan_in: int, fan_out: int, name: ActivationName, batch_norm: bool, dropout: float) -> nn.Sequential:
    parts: list[nn.Module] = [nn.Linear(fan_in, fan_out), *_optional(name)]
    if batch_norm:
        parts.append(nn.BatchNorm1d(fan_out))
    if dropout > 0:
        parts.append(nn.Dropout(dropout))
    return nn.Sequential(*parts)


def _optional(name: ActivationName) -> list[nn.Module]:
    return [] if name == "none" else [activation(name)]
