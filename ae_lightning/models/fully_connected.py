"""Fully connected autoencoders of any depth."""

from typing import Any

from ae_lightning.models.networked import NetworkAutoencoder
from ae_lightning.nn.activations import ActivationName
from ae_lightning.nn.networks import MLPNetwork
from ae_lightning.training.checks import require_fraction, require_positive


class FullyConnectedAutoencoder(NetworkAutoencoder):
    """Fully connected layers down to a code and mirrored up again: 784-400-20-400-784 by default on MNIST.

    A hidden layer is Linear, activation, then batch normalization and dropout where they are wanted. A ReLU code with
    few latents loses some of them for good: those that are zero for every image get no gradient.

    Args:
        input_shape: Shape of one sample, such as (1, 28, 28). The command line takes it from the data.
        latent_dim: Width of the code.
        hidden_dims: Widths of the encoder's hidden layers, from the input to the code; the decoder mirrors them.
        activation: Activation of the hidden layers.
        latent_activation: Activation of the code; none makes it linear.
        batch_norm: Whether hidden layers normalize their activations over the batch.
        dropout: Part of the activations of hidden layers that is set to zero in training.
        output_activation: Activation of the reconstruction; sigmoid asks for pixels within [0, 1].
        **kwargs: Arguments of `Autoencoder`.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        latent_dim: int = 20,
        hidden_dims: tuple[int, ...] = (400,),
        activation: ActivationName = "relu",
        latent_activation: ActivationName = "none",
        batch_norm: bool = False,
        dropout: float = 0.0,
        output_activation: ActivationName = "sigmoid",
        **kwargs: Any,
    ) -> None:
        require_positive(latent_dim=latent_dim, hidden_dims=min(hidden_dims, default=None))
        require_fraction(dropout=dropout)
        network = MLPNetwork(hidden_dims, activation, latent_activation, batch_norm, dropout)
        super().__init__(
            input_shape, latent_dim=latent_dim, network=network, output_activation=output_activation, **kwargs
        )
