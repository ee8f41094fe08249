"""Linear layers that are not quite torch's: with basis vectors of norm 1, or without a matrix of their own."""

import torch.nn.functional as F
from torch import Tensor, nn

from ae_lightning.nn.precision import at_least_float32


class UnitNormLinear(nn.Module):
    """A linear layer that divides each of its basis vectors by its Euclidean norm, at each use.

    The parameter keeps its own lengths, and the gradient flows through the division: what of it points along a vector
    is lost. A vector of zeros stays one. In half precision norms are computed in float32, and an entry is rounded once.

    Args:
        linear: The layer whose weight (output, input) and bias this one takes over.
        axis: Axis along which the entries of one vector lie: 0 for columns, what each input unit of a decoder's layer
            writes; 1 for rows, what each output unit reads.

    Shapes: (…, input) to (…, output).
    """

    def __init__(self, linear: nn.Linear, axis: int = 0) -> None:
        super().__init__()
        self.weight = linear.weight
        self.bias = linear.bias
        self.axis = axis

    @property
    def matrix(self) -> Tensor:
        """The weight (output, input) with vectors of norm 1."""
        return F.normalize(at_least_float32(self.weight), dim=self.axis).to(self.weight.dtype)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer."""
        return F.linear(x, self.matrix, self.bias)


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
