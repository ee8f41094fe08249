"""Convolutional autoencoders: a single stage, and a deep one with batch normalization."""

from typing import Any

from ae_lightning.models.networked import NetworkAutoencoder
from ae_lightning.nn.activations import ActivationName
from ae_lightning.nn.conv import Downsampling, Upsampling, require_images, smallest_side
from ae_lightning.nn.networks import ConvNetwork, DeepConvNetwork
from ae_lightning.training.checks import require_positive

_VECTORS = "FullyConnectedAutoencoder"
_SMALLER = "ConvAutoencoder, or fewer stages with a shorter --model.hidden_channels"


class ConvAutoencoder(NetworkAutoencoder):
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
        require_images(
            input_shape, smallest_side(1, downsampling), type(self).__name__, vectors=_VECTORS, smaller=_SMALLER
        )
        network = ConvNetwork(activation, downsampling, upsampling)
        super().__init__(
            input_shape, latent_dim=latent_channels, network=network, output_activation=output_activation, **kwargs
        )


class DeepConvAutoencoder(NetworkAutoencoder):
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
        smallest = smallest_side(len(hidden_channels) + 1, downsampling)
        require_images(input_shape, smallest, type(self).__name__, vectors=_VECTORS, smaller=_SMALLER)
        network = DeepConvNetwork(hidden_channels, activation, batch_norm, downsampling, upsampling)
        super().__init__(
            input_shape, latent_dim=latent_channels, network=network, output_activation=output_activation, **kwargs
        )
