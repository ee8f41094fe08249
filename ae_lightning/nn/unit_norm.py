"""Linear layers whose basis vectors have norm 1 whenever they are used."""

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
