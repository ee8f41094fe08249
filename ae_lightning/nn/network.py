"""What an encoder and its decoder are to an objective: settings that are built for a coding.

An objective knows no more of a network than that its encoder and its decoder are modules of the shapes that a `Coding`
says, so that each objective can be trained over each network.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from torch import nn

from ae_lightning.nn.activations import ActivationName
from ae_lightning.nn.settings import settings_of


@dataclass(frozen=True)
class Coding:
    """What an encoder and its decoder read and give.

    Args:
        input_shape: Shape of one sample.
        latent_dim: Width of a code that is a vector, channels of one that is a map.
        linear: Whether the encoder ends in a linear layer, so that a code may be any number.
        numbers_per_latent: Numbers that the encoder gives for each latent, one block of channels after the other on
            dim 1: 2 for a mean and a log variance.
        numbers_per_output: Numbers that the decoder gives for each one of a sample, likewise.
        output_activation: Activation of what the decoder gives.
    """

    input_shape: tuple[int, ...]
    latent_dim: int
    linear: bool = False
    numbers_per_latent: int = 1
    numbers_per_output: int = 1
    output_activation: ActivationName = "sigmoid"

    @property
    def width(self) -> int:
        """Width, or channels, of what the encoder gives."""
        return self.latent_dim * self.numbers_per_latent

    @property
    def output_shape(self) -> tuple[int, ...]:
        """Shape of what the decoder gives for one code."""
        channels, *others = self.input_shape
        return (channels * self.numbers_per_output, *others)


class Network(ABC):
    """Settings of an encoder and its decoder.

    A subclass keeps each argument of its constructor under the argument's name.
    """

    @abstractmethod
    def build(self, coding: Coding) -> tuple[nn.Module, nn.Module]:
        """New modules: an encoder and a decoder.

        The encoder takes (batch, *input_shape) to (batch, width) or (batch, width, height, width of the map); the
        decoder (batch, latent_dim, …) to (batch, *output_shape).

        Raises:
            ConfigError: It cannot be built for such samples or such a code.
        """

    @property
    def settings(self) -> dict[str, Any] | str:
        """The class and its arguments as plain values, from which it can be built again."""
        return settings_of(self)
