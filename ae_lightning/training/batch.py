"""What a data module yields, what a model takes of it and gives."""

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor

from ae_lightning.nn.blocked_pass import BlockedOutput
from ae_lightning.nn.sparse_code import SparseCode

Known = Tensor | SparseCode
"""What is known of samples: labels or true features, a tensor, or true features as indices and values.

A tensor's first axis counts the samples, and may be followed by one for instances; a `SparseCode` is (batch, features),
or (instances, batch, features).
"""

LabeledBatch = tuple[Tensor, Known]
"""(x, y): what the data modules of this package yield."""

Batch = LabeledBatch | tuple[Tensor, Known, Tensor]
"""(x, y), or (x, y, target) where something else than x is to be produced.

Samples x are (batch, *input_shape), y are labels, true features (see `Known`), or an empty tensor, and targets are
(batch, *output_shape). Where each instance of a population has samples of its own, x and targets are (batch,
instances, …).
"""


def labels_of(y: Known) -> Tensor:
    """Labels or true features (batch, …) as a tensor; empty, (batch, 0), of true features as indices and values.

    What asks for labels has no use for those, and their zeros would fill the memory.
    """
    return y.values.new_empty(len(y), 0) if isinstance(y, SparseCode) else y


def instances_first(x: Tensor, sample_axes: int) -> Tensor:
    """Samples of each instance's own, (batch, instances, *sample), as (instances, batch, *sample); others as they are.

    Args:
        x: Samples (batch, *sample), shared by all instances, or (batch, instances, *sample).
        sample_axes: How many axes one sample has.
    """
    return x.movedim(1, 0) if x.ndim > sample_axes + 1 else x


class AutoencoderOutput(NamedTuple):
    """What a forward pass gives: the reconstruction, shaped as x, and the code; of several instances these come first.

    x_hat (batch, *input_shape) and z (batch, …), or x_hat (instances, batch, *input_shape) and z (instances, batch, …).
    """

    x_hat: Tensor
    z: Tensor


class SparseOutput(NamedTuple):
    """What a step's forward pass gives where codes are computed as indices and values; `z.to_dense()` is the tensor."""

    x_hat: Tensor
    z: SparseCode


StepOutput = AutoencoderOutput | SparseOutput
"""What `terms` gives beside the loss."""


class Pass:
    """One pass through a dictionary, in the units that it reads; all are (…, batch, width).

    Args:
        target: What the reconstruction is compared with.
        pre: Pre-activations, or what gives them, once they are asked for; None where no term needs them, and the
            activation may overwrite them.
        z: The code: a tensor, or where the arithmetic is sparse a `SparseCode`.
        decode: What gives `outputs` of the code, once they are asked for.
        blocked: What the pass gave where it was computed some latents at a time, and the sums of codes that penalties
            then take from there.
    """

    def __init__(
        self,
        target: Tensor,
        pre: Tensor | Callable[[], Tensor] | None,
        z: Any,
        decode: Callable[[Any], list[Tensor]],
        blocked: BlockedOutput | None = None,
    ) -> None:
        self.target = target
        self._pre = pre
        self.z = z
        self.blocked = blocked
        self._decode = decode
        self._outputs: list[Tensor] | None = None

    @property
    def pre(self) -> Tensor | None:
        """Pre-activations; of a pass that was computed some latents at a time they take a product more."""
        if callable(self._pre):
            self._pre = self._pre()
        return self._pre

    @property
    def outputs(self) -> list[Tensor]:
        """What is compared with the target: x̂, last, and what a variant asks of parts of the code."""
        if self._outputs is None:
            self._outputs = self._decode(self.z)
        return self._outputs

    @property
    def x_hat(self) -> Tensor:
        """The reconstruction."""
        return self.outputs[-1]
