"""How large a model is: its input, its code, its parameters."""

import math
from abc import ABC, abstractmethod
from functools import cached_property

from torch import Tensor, nn

from ae_lightning.nn.modes import evaluation_mode


class Sizes(nn.Module, ABC):
    """Sizes of an autoencoder, found from its shapes and its parameters."""

    input_shape: tuple[int, ...]
    instances: int | None

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """Code of a batch."""

    @property
    def input_size(self) -> int:
        """Numbers in one sample: 784 for a 1×28×28 image."""
        return math.prod(self.input_shape)

    @cached_property
    def latent_shape(self) -> tuple[int, ...]:
        """Shape of the code of one sample, without batch and instances, found by encoding a blank one."""
        with evaluation_mode(self):
            z = self.encode(next(self.parameters()).new_zeros(1, *self.input_shape))
        return tuple(z.shape[1 if self.instances is None else 2 :])

    @property
    def latent_size(self) -> int:
        """Numbers in the code of one sample."""
        return math.prod(self.latent_shape)

    @property
    def compression_ratio(self) -> float:
        """Input size divided by latent size: 39.2 for 784 → 20, below 1 for an overcomplete code."""
        return self.input_size / self.latent_size

    @property
    def is_undercomplete(self) -> bool:
        """Whether the code is smaller than the input."""
        return self.latent_size < self.input_size

    @property
    def num_parameters(self) -> int:
        """Trainable numbers in the model, all instances together."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)
