"""Linear layers that are not quite torch's: with basis vectors of norm 1, or without a matrix of their own."""

import torch
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
        return _with_unit_vectors(self.weight, self.axis)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer."""
        return F.linear(x, self.matrix, self.bias)


class TiedLinear(nn.Module):
    """A linear layer that multiplies by the transpose of another layer's matrix, and has a bias of its own.

    The other layer's weight gets the gradients of both uses.

    Args:
        source: The layer whose matrix is used as it is at each moment; (input, output), as seen from here.
        bias: The bias (output).
        unit_norm: Whether what each input unit writes is divided by its norm here, and the source left as it is.

    Shapes: (…, input) to (…, output).
    """

    def __init__(self, source: nn.Linear | UnitNormLinear, bias: nn.Parameter, unit_norm: bool = False) -> None:
        super().__init__()
        # In a tuple the source is no submodule, so that its parameters are not listed and stored a second time.
        self._source = (source,)
        self.bias = bias
        self.unit_norm = unit_norm

    @property
    def weight(self) -> Tensor:
        """A view (output, input) of the source's parameter."""
        return self._source[0].weight.T

    @property
    def matrix(self) -> Tensor:
        """What x is multiplied by (output, input): the source's matrix transposed, with vectors of norm 1 if wanted."""
        source = self._source[0]
        matrix = (source.matrix if isinstance(source, UnitNormLinear) else source.weight).T
        return _with_unit_vectors(matrix, axis=0) if self.unit_norm else matrix

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer."""
        return F.linear(x, self.matrix, self.bias)


@torch.no_grad()
def normalize_rows(rows: Tensor) -> None:
    """Divide rows (…, row, entry) by their Euclidean norm, in place and without waiting for the device.

    Norms are computed in float32 or wider. Rows in bfloat16 are rounded once, each entry by up to 1/512 of itself,
    and their norm is 1 within that at most, and as a rule, since rounding goes both ways, within a tenth of it. A row
    of zeros stays one.
    """
    wide = torch.promote_types(rows.dtype, torch.float32)
    norm = torch.linalg.vector_norm(rows, dim=-1, keepdim=True, dtype=wide)
    rows.div_(norm.clamp_(min=torch.finfo(norm.dtype).tiny))


def _with_unit_vectors(matrix: Tensor, axis: int) -> Tensor:
    return F.normalize(at_least_float32(matrix), dim=axis).to(matrix.dtype)
