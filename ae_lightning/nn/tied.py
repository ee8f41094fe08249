"""Linear layers without a matrix of their own."""

import torch.nn.functional as F
from torch import Tensor, nn

from ae_lightning.nn.unit_norm import UnitNormLinear


class TiedLinear(nn.Module):
    """A linear layer that multiplies by the transpose of another layer's matrix, and has a bias of its own.

    The other layer's weight gets the gradients of both uses.

    Args:
        source: The layer whose matrix is used as it is at each moment; (input, output), as seen from here.
        bias: The bias (output).

    Shapes: (…, input) to (…, output).
    """

    def __init__(self, source: nn.Linear | UnitNormLinear, bias: nn.Parameter) -> None:
        super().__init__()
        # In a tuple the source is no submodule, so that its parameters are not listed and stored a second time.
        self._source = (source,)
        self.bias = bias

    @property
    def weight(self) -> Tensor:
        """A view (output, input) of the source's parameter."""
        return self._source[0].weight.T

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer."""
        source = self._source[0]
        matrix = source.matrix if isinstance(source, UnitNormLinear) else source.weight
        return F.linear(x, matrix.T, self.bias)
