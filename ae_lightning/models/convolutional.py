"""Convolutional autoencoders: a single stage, and a deep one with batch normalization."""

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from ae_lightning.models.base import Autoencoder
from ae_lightning.nn.activations import ActivationName, activation, activation_range
from ae_lightning.nn.conv import Downsampling, DownStage, Size, Upsampling, doubling, sizes_through, smallest_side
from ae_lightning.nn.mlp import through_activation
from ae_lightning.training.checks import require_images, require_positive


class ConvolutionalAutoencoder(Autoencoder):
    """What the convolutional variants share: stages that halve the image, and stages that double it again.

    Abstract: a variant builds `encoder`, a sequence of stages whose last output is the code, and `decoder`, and says
    what shapes `encode` and `decode` have. Kernels lie in memory with the channels last, and so do all feature maps: a
    step is a third faster, and shapes are the same.

    Args:
        input_shape: Shape of an image, (channels, height, width).
        stages: Number of times that the image is halved.
        downsampling: How it is halved.
        output_activation: Activation of the reconstruction.
        **kwargs: Arguments of `Autoencoder`.

    Raises:
        ConfigError: Samples are no images, or too small to be halved so often.
    """

    encoder: nn.Sequential
    decoder: nn.Module

    def __init__(
        self,
        input_shape: tuple[int, ...],
        stages: int,
        downsampling: Downsampling,
        output_activation: ActivationName,
        **kwargs: Any,
    ) -> None:
        require_images(input_shape, smallest_side(stages, downsampling), type(self).__name__)
        super().__init__(input_shape, **kwargs)
        self.output_activation_name: ActivationName = output_activation
        height, width = self.input_shape[1:]
        self.sizes: list[Size] = sizes_through((height, width), stages, downsampling)

    def layer_outputs(self, x: Tensor, after_activation: bool = False) -> list[Tensor]:
        """Feature maps (batch, channels, height, width) after each stage but the last, whose output is the code.

        Args:
            x: Images (batch, *input_shape).
            after_activation: Whether to take them before batch normalization and pooling, right after the activation,
                and the code, whole as `encode` gives it, as the last.
        """
        outputs = []
        for stage in self.encoder[:-1]:
            activated, x = through_activation(stage, x) if after_activation else (stage(x),) * 2
            outputs.append(activated)
        return [*outputs, self.encoder[-1](x)] if after_activation else outputs

    @property
    def output_range(self) -> tuple[float, float]:
        """Range of the output activation."""
        return activation_range(self.output_activation_name)


class ConvAutoencoder(ConvolutionalAutoencoder):
    """One convolution down and one up: 1×28×28 → 16×14×14 → 1×28×28 on MNIST, with 225 parameters.

    A 3×3 convolution, its activation and 2×2 max-pooling; a 2×2 transposed convolution of stride 2. The code is larger
    than the image, which makes it no bottleneck but a local change of features.

    Args:
        input_shape: Shape of an image, (channels, height, width), each side of at least 2 pixels. The command line
            takes it from the data.
        latent_channels: Channels of the code.
        activation: Activation of the code.
        downsampling: pool for 2×2 max-pooling, or stride for a convolution of stride 2.
        upsampling: transpose for a transposed convolution of stride 2, or bilinear for bilinear up-sampling followed by
            a 3×3 convolution, which draws no checkerboards; bilinear_aligned for the same with corners on corners.
        output_activation: Activation of the reconstruction; sigmoid asks for pixels within [0, 1].
        **kwargs: Arguments of `Autoencoder`.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        latent_channels: int = 16,
        activation: ActivationName = "relu",
        downsampling: Downsampling = "pool",
        upsampling: Upsampling = "transpose",
        output_activation: ActivationName = "sigmoid",
        **kwargs: Any,
    ) -> None:
        require_positive(latent_channels=latent_channels)
        super().__init__(input_shape, 1, downsampling, output_activation, **kwargs)
        channels = self.input_shape[0]
        size, smaller = self.sizes
        self.encoder = nn.Sequential(DownStage(channels, latent_channels, activation, downsampling=downsampling))
        self.decoder = nn.Sequential(
            doubling(latent_channels, channels, smaller, size, upsampling, kernel=2), *_output(output_activation)
        )
        self.to(memory_format=torch.channels_last)

    def encode(self, x: Tensor) -> Tensor:
        """Code: x (batch, *input_shape) to (batch, latent_channels, height / 2, width / 2)."""
        return self.encoder(x)

    def decode(self, z: Tensor) -> Tensor:
        """Reconstruction: z (batch, latent_channels, height / 2, width / 2) to (batch, *input_shape)."""
        return self.decoder(z)


class DeepConvAutoencoder(ConvolutionalAutoencoder):
    """Three stages with batch normalization: 1×28×28 → 16×14×14 → 32×7×7 → 64×3×3 and back, 83,905 parameters.

    A stage down is a 3×3 convolution, its activation, batch normalization and 2×2 max-pooling; a stage up a 3×3
    transposed convolution of stride 2, activation and batch normalization; a last 3×3 convolution gives the image.

    Args:
        input_shape: Shape of an image, (channels, height, width), each side of at least 2^stages pixels. The command
            line takes it from the data.
        latent_channels: Channels of the code.
        hidden_channels: Channels of the stages before it, from the image on; the decoder mirrors them.
        activation: Activation of every stage, of the code too.
        batch_norm: Whether every stage normalizes its channels over the batch and all pixels, after the activation.
        downsampling: pool for 2×2 max-pooling, or stride for convolutions of stride 2.
        upsampling: transpose for transposed convolutions of stride 2, or bilinear for bilinear up-sampling followed by
            3×3 convolutions, which draw no checkerboards; bilinear_aligned for the same with corners on corners.
        output_activation: Activation of the reconstruction; sigmoid asks for pixels within [0, 1].
        **kwargs: Arguments of `Autoencoder`.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        latent_channels: int = 64,
        hidden_channels: tuple[int, ...] = (16, 32),
        activation: ActivationName = "relu",
        batch_norm: bool = True,
        downsampling: Downsampling = "pool",
        upsampling: Upsampling = "transpose",
        output_activation: ActivationName = "sigmoid",
        **kwargs: Any,
    ) -> None:
        require_positive(latent_channels=latent_channels, hidden_channels=min(hidden_channels, default=None))
        widths = [*hidden_channels, latent_channels]
        super().__init__(input_shape, len(widths), downsampling, output_activation, **kwargs)
        channels = self.input_shape[0]
        self.encoder = nn.Sequential(
            *(DownStage(*pair, activation, batch_norm, downsampling) for pair in pairwise([channels, *widths]))
        )
        self.decoder = nn.Sequential(
            *self._up_stages(widths, activation, batch_norm, upsampling),
            nn.Conv2d(widths[0], channels, 3, padding=1),
            *_output(output_activation),
        )
        self.to(memory_format=torch.channels_last)

    def encode(self, x: Tensor) -> Tensor:
        """Code: x (batch, *input_shape) to (batch, latent_channels, height / 2^stages, width / 2^stages)."""
        return self.encoder(x)

    def decode(self, z: Tensor) -> Tensor:
        """Reconstruction: z (batch, latent_channels, height / 2^stages, width / 2^stages) to (batch, *input_shape)."""
        return self.decoder(z)

    def _up_stages(
        self, widths: list[int], name: ActivationName, batch_norm: bool, upsampling: Upsampling
    ) -> list[nn.Module]:
        """Stages up to the size of the image, as wide as the encoder's: 64 → 64 → 32 → 16 channels."""
        stages: list[nn.Module] = []
        outgoing = widths[::-1]
        for i, width in enumerate(outgoing):
            incoming = outgoing[max(i - 1, 0)]
            convolution = doubling(incoming, width, self.sizes[-1 - i], self.sizes[-2 - i], upsampling)
            norm = [nn.BatchNorm2d(width)] if batch_norm else []
            stages.append(nn.Sequential(convolution, activation(name), *norm))
        return stages


def _output(name: ActivationName) -> list[nn.Module]:
    return [] if name == "none" else [activation(name)]
