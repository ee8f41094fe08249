"""A stack of fully connected layers."""

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from ae_lightning.nn.activations import ActivationName, activation


class MLP(nn.Sequential):
    """Linear layers of the given widths with an activation after each.

    Args:
        widths: Input width, hidden widths and output width, in order: at least two numbers.
        hidden_activation: Activation after every layer but the last.
        output_activation: Activation after the last layer.

    Shapes: input (batch, widths[0]), output (batch, widths[-1]).
    """

    def __init__(
        self,
        widths: Sequence[int],
        hidden_activation: ActivationName = "relu",
        output_activation: ActivationName = "none",
    ) -> None:
        layers: list[nn.Module] = []
        last = len(widths) - 2
        for i, (fan_in, fan_out) in enumerate(pairwise(widths)):
            layers.append(nn.Linear(fan_in, fan_out))
            name = output_activation if i == last else hidden_activation
            if name != "none":
                layers.append(activation(name))
        super().__init__(*layers)
