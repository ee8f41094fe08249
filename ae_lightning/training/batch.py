"""What a data module yields and a model takes."""

from torch import Tensor

Batch = tuple[Tensor, Tensor]
"""(x, y): samples (batch, *input_shape), and labels, true features, or an empty tensor.

Where each instance of a population has samples of its own, x is (batch, instances, *input_shape).
"""
