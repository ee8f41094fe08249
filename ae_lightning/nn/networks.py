"""Networks that objectives are trained over: fully connected, convolutional, and modules of the user's own."""

import difflib
import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ae_lightning.errors import ConfigError
from ae_lightning.nn.activations import ActivationName, activation
from ae_lightning.nn.conv import (
    Downsampling,
    DownStage,
    Upsampling,
    doubling,
    require_images,
    sizes_through,
    smallest_side,
    up_stages,
)
from ae_lightning.nn.layers import Layers
from ae_lightning.nn.mlp import MLP
from ae_lightning.nn.modes import evaluation_mode
from ae_lightning.nn.network import Coding, Network


class MLPNetwork(Network):
    """Fully connected layers down to a vector and mirrored up again: 784-400-20-400-784 by default on MNIST.

    Args:
        hidden_dims: Widths of the encoder's hidden layers, from the input to the code; the decoder mirrors them.
        activation: Activation of the hidden layers.
        latent_activation: Activation of the code; none makes it linear.
        batch_norm: Whether hidden layers normalize their activations over the batch.
        dropout: Part of the activations of hidden layers that is set to zero in training.
    """

    def __init__(
        self,
        hidden_dims: tuple[int, ...] = (400,),
        activation: ActivationName = "relu",
        latent_activation: ActivationName = "none",
        batch_norm: bool = False,
        dropout: float = 0.0,
    ) -> None:
        self.hidden_dims = tuple(hidden_dims)
        self.activation: ActivationName = activation
        self.latent_activation: ActivationName = latent_activation
        self.batch_norm = batch_norm
        self.dropout = dropout

    def build(self, coding: Coding) -> tuple[nn.Module, nn.Module]:
        """New modules; the code is a vector."""
        _require_positive(hidden_dims=self.hidden_dims)
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"--model.network.dropout is {self.dropout:g}; it must be at least 0 and less than 1")
        if coding.linear and self.latent_activation != "none":
            raise ConfigError(
                f"--model.network.latent_activation is {self.latent_activation}, but the code of this model has to "
                "be linear: leave it out"
            )
        kind, extras = self.activation, (self.batch_norm, self.dropout)
        widths = [math.prod(coding.input_shape), *self.hidden_dims, coding.width]
        encoder = _FromSamples(widths, kind, self.latent_activation, *extras)
        back = [coding.latent_dim, *self.hidden_dims[::-1]]
        return encoder, _ToSamples(coding.output_shape, back, kind, coding.output_activation, *extras)


class ConvNetwork(Network):
    """One convolution down and one up: 1×28×28 → latent_dim×14×14 → 1×28×28 on MNIST.

    A 3×3 convolution, its activation and 2×2 max-pooling; a 2×2 transposed convolution of stride 2. A code that has to
    be linear has no activation, and the mean for the maximum.

    Args:
        activation: Activation of the code.
        downsampling: pool for 2×2 pooling, or stride for a convolution of stride 2.
        upsampling: transpose for a transposed convolution of stride 2, or bilinear for bilinear up-sampling followed by
            a 3×3 convolution, which draws no checkerboards; bilinear_aligned for the same with corners on corners.
    """

    def __init__(
        self,
        activation: ActivationName = "relu",
        downsampling: Downsampling = "pool",
        upsampling: Upsampling = "transpose",
    ) -> None:
        self.activation: ActivationName = activation
        self.downsampling: Downsampling = downsampling
        self.upsampling: Upsampling = upsampling

    def build(self, coding: Coding) -> tuple[nn.Module, nn.Module]:
        """New modules; the code is a map of half the image's height and width."""
        smallest = smallest_side(1, self.downsampling)
        require_images(coding.input_shape, smallest, "the network conv", vectors=_VECTORS, smaller=_VECTORS)
        channels, height, width = coding.input_shape
        large, small = sizes_through((height, width), 1, self.downsampling)
        encoder = Layers(_code_stage(channels, coding, self.activation, False, self.downsampling))
        convolution = doubling(coding.latent_dim, coding.output_shape[0], small, large, self.upsampling, kernel=2)
        return _channels_last(encoder, nn.Sequential(convolution, *_output(coding.output_activation)))


class DeepConvNetwork(Network):
    """Stages with batch normalization: 1×28×28 → 16×14×14 → 32×7×7 → latent_dim×3×3 and back on MNIST.

    A stage down is a 3×3 convolution, its activation, batch normalization and 2×2 max-pooling; a stage up a 3×3
    transposed convolution of stride 2, activation and batch normalization; a last 3×3 convolution gives the image. The
    last stage down of a code that has to be linear is a convolution and pooling by the mean alone.

    Args:
        hidden_channels: Channels of the stages before the code, from the image on; the decoder mirrors them.
        activation: Activation of every stage, of the code too unless that has to be linear or is flat.
        batch_norm: Whether every stage normalizes its channels over the batch and all pixels, after the activation.
        downsampling: pool for 2×2 pooling, or stride for convolutions of stride 2.
        upsampling: transpose for transposed convolutions of stride 2, or bilinear for bilinear up-sampling followed by
            3×3 convolutions, which draw no checkerboards; bilinear_aligned for the same with corners on corners.
        flat_code: Whether the code is a vector: one linear layer from the last of the hidden stages to it, and one
            back. The image is then halved once for each of the hidden channels: 1×28×28 → 16×14×14 → 32×7×7 → vector.
    """

    def __init__(
        self,
        hidden_channels: tuple[int, ...] = (16, 32),
        activation: ActivationName = "relu",
        batch_norm: bool = True,
        downsampling: Downsampling = "pool",
        upsampling: Upsampling = "transpose",
        flat_code: bool = False,
    ) -> None:
        self.hidden_channels = tuple(hidden_channels)
        self.activation: ActivationName = activation
        self.batch_norm = batch_norm
        self.downsampling: Downsampling = downsampling
        self.upsampling: Upsampling = upsampling
        self.flat_code = flat_code

    def build(self, coding: Coding) -> tuple[nn.Module, nn.Module]:
        """New modules; the code is a map, or a vector where that is asked for."""
        _require_positive(hidden_channels=self.hidden_channels)
        if self.flat_code and not self.hidden_channels:
            raise ConfigError("--model.network.hidden_channels is empty; a flat code needs a stage before it")
        widths = [*self.hidden_channels] if self.flat_code else [*self.hidden_channels, coding.latent_dim]
        smallest = smallest_side(len(widths), self.downsampling)
        require_images(coding.input_shape, smallest, "the network deep_conv", vectors=_VECTORS, smaller=_SMALLER)
        channels, height, width = coding.input_shape
        sizes = sizes_through((height, width), len(widths), self.downsampling)
        down: list[nn.Module] = [
            DownStage(incoming, outgoing, self.activation, self.batch_norm, self.downsampling)
            for incoming, outgoing in pairwise([channels, *self.hidden_channels])
        ]
        if self.flat_code:
            innermost = (widths[-1], *sizes[-1])
            down.append(nn.Sequential(nn.Flatten(), nn.Linear(math.prod(innermost), coding.width)))
            opening: list[nn.Module] = [_from_vector(coding.latent_dim, innermost, self.activation)]
        else:
            before = [channels, *self.hidden_channels][-1]
            down.append(_code_stage(before, coding, self.activation, self.batch_norm, self.downsampling))
            opening = []
        up = up_stages(widths, sizes, self.activation, self.batch_norm, self.upsampling)
        last = nn.Conv2d(widths[0], coding.output_shape[0], 3, padding=1)
        return _channels_last(Layers(*down), nn.Sequential(*opening, *up, last, *_output(coding.output_activation)))


class OwnNetwork(Network):
    """Modules of your own: an encoder and a decoder, each used as it is and by one model alone.

    Args:
        encoder: Takes samples (batch, *input_shape) to a vector (batch, width) or a map (batch, width, …), where width
            is the model's `latent_dim`; of a model with a Gaussian posterior it is twice that, means first.
        decoder: Takes codes (batch, latent_dim, …) to (batch, *input_shape). The model's `output_activation` follows.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module) -> None:
        self.encoder = encoder
        self.decoder = decoder

    def build(self, coding: Coding) -> tuple[nn.Module, nn.Module]:
        """The modules, once a blank sample has gone through them."""
        decoder = nn.Sequential(self.decoder, *_output(coding.output_activation))
        given = _shape_from(self.encoder, coding.input_shape, "encoder")
        if given[:1] != (coding.width,):
            raise ConfigError(
                f"--model.network.encoder gives {_by(given)} for a sample, but {coding.width} should come first, which "
                f"is {_what(coding)}: change the module, or --model.latent_dim"
            )
        code = (coding.latent_dim, *given[1:])
        produced = _shape_from(decoder, code, "decoder")
        if produced != coding.output_shape:
            raise ConfigError(
                f"--model.network.decoder gives {_by(produced)} for a code of {_by(code)}, but it should be "
                f"{_by(coding.output_shape)}"
            )
        return self.encoder, decoder

    @property
    def settings(self) -> str:
        """A word that stands for it, since modules are no plain values; `network_named` says what it lacks."""
        return OWN


OWN = "own"
"""What a checkpoint holds in place of a network whose modules were made in Python."""

NetworkName = Literal["mlp", "conv", "deep_conv"]
"""The names accepted wherever a network is asked for: `MLPNetwork`, `ConvNetwork`, `DeepConvNetwork` as they are."""

_NETWORKS: dict[str, type[Network]] = {"mlp": MLPNetwork, "conv": ConvNetwork, "deep_conv": DeepConvNetwork}


def network_named(name: str) -> Network:
    """The network of a name, with the settings that it has by default.

    Raises:
        ConfigError: There is none of that name.
    """
    if name == OWN:
        raise ConfigError(
            "its network is an OwnNetwork of modules that were made in Python: give it again, as network=OwnNetwork("
            "encoder, decoder)"
        )
    if name not in _NETWORKS:
        close = difflib.get_close_matches(name, _NETWORKS, n=1)
        guess = f"; did you mean {close[0]}?" if close else ""
        raise ConfigError(f"there is no network {name!r}: known are {', '.join(_NETWORKS)}{guess}")
    return _NETWORKS[name]()


_VECTORS = "--model.network mlp"
_SMALLER = "--model.network conv or mlp, or fewer stages with shorter hidden_channels"


class _FromSamples(MLP):
    """Fully connected layers that read samples of any shape."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(1))

    def layer_outputs(self, x: Tensor, after_activation: bool = False) -> list[Tensor]:
        return super().layer_outputs(x.flatten(1), after_activation)


class _ToSamples(MLP):
    """Fully connected layers that write samples of a shape."""

    def __init__(self, shape: tuple[int, ...], widths: Sequence[int], *settings: Any) -> None:
        super().__init__([*widths, math.prod(shape)], *settings)
        self.shape = shape

    def forward(self, z: Tensor) -> Tensor:
        return super().forward(z).unflatten(-1, self.shape)


def _code_stage(
    channels: int, coding: Coding, name: ActivationName, batch_norm: bool, downsampling: Downsampling
) -> DownStage:
    """The stage that gives a map as code."""
    if coding.linear:
        return DownStage(channels, coding.width, "none", False, downsampling, linear=True)
    return DownStage(channels, coding.width, name, batch_norm, downsampling)


def _from_vector(latent_dim: int, shape: tuple[int, ...], name: ActivationName) -> nn.Sequential:
    """The layer from a flat code to a map."""
    return nn.Sequential(nn.Linear(latent_dim, math.prod(shape)), activation(name), nn.Unflatten(1, shape))


def _output(name: ActivationName) -> list[nn.Module]:
    return [] if name == "none" else [activation(name)]


def _channels_last(encoder: nn.Module, decoder: nn.Module) -> tuple[nn.Module, nn.Module]:
    """The same with kernels, and so feature maps, channels last in memory: a third faster, and shapes are the same."""
    memory: Any = {"memory_format": torch.channels_last}
    return encoder.to(**memory), decoder.to(**memory)


def _require_positive(**sizes: Sequence[int]) -> None:
    for name, each in sizes.items():
        if min(each, default=1) < 1:
            raise ConfigError(f"--model.network.{name} has {min(each)}; each must be at least 1")


def _shape_from(module: nn.Module, shape: tuple[int, ...], name: str) -> tuple[int, ...]:
    """Shape of what a module gives for one blank sample or code of this shape."""
    weight = next(module.parameters(), torch.empty(0))
    try:
        with evaluation_mode(module):
            given = module(weight.new_zeros(1, *shape))
    except (RuntimeError, ValueError, TypeError, IndexError) as error:
        reason = str(error).partition("\n")[0]
        raise ConfigError(f"--model.network.{name} cannot take {_by(shape)}: {reason}") from error
    if not isinstance(given, Tensor) or given.shape[:1] != (1,):
        raise ConfigError(f"--model.network.{name} should give a tensor (batch, …) for (batch, {_by(shape)})")
    return tuple(given.shape[1:])


def _by(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape)) or "a single number"


def _what(coding: Coding) -> str:
    if coding.numbers_per_latent == 1:
        return "--model.latent_dim"
    return f"{coding.numbers_per_latent} numbers for each of --model.latent_dim {coding.latent_dim}"
