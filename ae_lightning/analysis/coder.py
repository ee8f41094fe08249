"""What has a latent space: a model that encodes and decodes, or one of several that were trained side by side."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor, nn


class Coder(Protocol):
    """What can be explored: a module that encodes and decodes, such as an `Autoencoder`.

    With ``instances``, codes and reconstructions have a leading dimension of that many copies.
    """

    input_shape: tuple[int, ...]
    instances: int | None

    def encode(self, x: Tensor) -> Tensor:
        """Codes of x (n, *input_shape): (n, *latent_shape)."""

    def decode(self, z: Tensor) -> Tensor:
        """Reconstructions from codes z: (n, *input_shape)."""


class OneInstance(nn.Module):
    """One of the copies that a model trains side by side, seen as a model without instances.

    Args:
        model: The model, which is shared and not copied.
        index: Which of its instances, from 0 on.

    Raises:
        ValueError: If the model has no instances, or none of this index.
    """

    instances: int | None = None

    def __init__(self, model: Coder, index: int = 0) -> None:
        super().__init__()
        if model.instances is None:
            raise ValueError("the model has no instances, so there is none to choose")
        if not 0 <= index < model.instances:
            raise ValueError(f"index must be at least 0 and less than {model.instances} instances, but is {index}")
        self.model = model
        self.index = index
        self.input_shape = tuple(model.input_shape)

    def encode(self, x: Tensor) -> Tensor:
        """Codes of this instance: x (n, *input_shape) to (n, *latent_shape)."""
        return self.model.encode(x)[self.index]

    def decode(self, z: Tensor) -> Tensor:
        """Reconstructions by this instance: z (n, *latent_shape) to (n, *input_shape)."""
        return self.model.decode(z.expand(self.model.instances or 1, *z.shape))[self.index]


@runtime_checkable
class DiscreteCoder(Protocol):
    """A model whose code is made of entries of codebooks, such as a VQ-VAE."""

    input_shape: tuple[int, ...]

    def indices_of(self, x: Tensor) -> Tensor:
        """Indices int64 of x (n, *input_shape): (n, *index_shape)."""

    def decode_indices(self, indices: Tensor) -> Tensor:
        """Reconstructions from such indices: (n, *input_shape)."""


class ByIndices(nn.Module):
    """A model with discrete codes, seen as one whose codes are the indices int64 of its codebooks' entries.

    Args:
        model: The model, which is shared and not copied.
    """

    instances: int | None = None

    def __init__(self, model: DiscreteCoder) -> None:
        super().__init__()
        self.model = model
        self.input_shape = tuple(model.input_shape)

    def encode(self, x: Tensor) -> Tensor:
        """Indices of x (n, *input_shape): (n, *index_shape)."""
        return self.model.indices_of(x)

    def decode(self, z: Tensor) -> Tensor:
        """Reconstructions from indices z: (n, *input_shape)."""
        parameter = next(self.parameters(), None)
        return self.model.decode_indices(z if parameter is None else z.to(parameter.device))


def single(model: Coder) -> Coder:
    """The model itself if it has no instances, else the first of them."""
    return model if model.instances is None else OneInstance(model, 0)
