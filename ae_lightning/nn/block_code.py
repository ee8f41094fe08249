"""How codes are made of pre-activations, and what their gradients are, some latents at a time; see `blocked_pass`."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ae_lightning.nn.elementwise import where_positive


class BlockCode(ABC):
    """Turns pre-activations into codes, and gradients of codes into those of pre-activations, some latents at a time.

    One is made for each pass. It may have several codes: the first is the dictionary's, whose decoder learns from it;
    the others are decoded by the same weights, held fixed.
    """

    #: How many codes there are.
    codes = 1
    #: Which of them is summed over the batch, for a penalty; None for none.
    summed: int | None = None
    #: Tensors (…, latent) that get gradients.
    parameters: Sequence[Tensor] = ()

    def begin(self, z: Tensor) -> None:
        """Learn of the pass before anything is encoded.

        Args:
            z: The dictionary's code (…, batch, latent), not yet written.
        """
        self.samples = z.shape[-2]

    @abstractmethod
    def encode(self, pre: Tensor, codes: Sequence[Tensor], at: Any) -> None:
        """Write codes.

        Args:
            pre: Pre-activations (batch, some), which may be overwritten.
            codes: What is written, each (batch, some).
            at: The latents: an index into tensors (…, latent).
        """

    @abstractmethod
    def backward(self, gradients: Sequence[Tensor], codes: Sequence[Tensor], at: Any) -> tuple[Tensor, ...]:
        """Gradients of pre-activations (batch, some), and of each of the parameters (some,).

        Args:
            gradients: Those of the codes, each (batch, some), which may be overwritten.
            codes: As they were written.
            at: The latents.
        """


class ReluCode(BlockCode):
    """z = ReLU(pre), and its sums."""

    summed = 0

    def encode(self, pre: Tensor, codes: Sequence[Tensor], at: Any) -> None:
        """Write max(pre, 0); NaN stays NaN."""
        torch.clamp_min(pre, 0, out=codes[0])

    def backward(self, gradients: Sequence[Tensor], codes: Sequence[Tensor], at: Any) -> tuple[Tensor, ...]:
        """The gradient where the code is above zero."""
        return (where_positive(gradients[0], codes[0], out=gradients[0]),)


def columns(at: Any) -> Any:
    """The latents `at`, an index into tensors (…, latent), as one into tensors (…, width, latent)."""
    return *at[:-1], slice(None), at[-1]
