"""Fully connected autoencoders of any depth."""

from typing import Any

from torch import Tensor

from ae_lightning.models.base import Autoencoder
from ae_lightning.nn.activations import ActivationName, activation_range
from ae_lightning.nn.mlp import MLP
from ae_lightning.training.checks import require_fraction, require_positive


class FullyConnectedAutoencoder(Autoencoder):
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
        super().__init__(input_shape, **kwargs)
        self.latent_dim = latent_dim
        self.output_activation_name: ActivationName = output_activation
        widths = [self.input_size, *hidden_dims, latent_dim]
        self.encoder = MLP(widths, activation, latent_activation, batch_norm, dropout)
        self.decoder = MLP(widths[::-1], activation, output_activation, batch_norm, dropout)

    def encode(self, x: Tensor) -> Tensor:
        """Code: x (batch, *input_shape) to (batch, latent_dim)."""
        return self.encoder(x.flatten(1))

    def decode(self, z: Tensor) -> Tensor:
        """Reconstruction: z (batch, latent_dim) to (batch, *input_shape)."""
        return self.decoder(z).unflatten(-1, self.input_shape)

    def layer_outputs(self, x: Tensor, after_activation: bool = False) -> list[Tensor]:
        """Activations (batch, width) of each hidden layer of the encoder; what the option adds is said at the base."""
        *hidden, z = self.encoder.layer_outputs(x.flatten(1), after_activation)
        return [*hidden, z] if after_activation else hidden

    @property
    def output_range(self) -> tuple[float, float]:
        """Range of the output activation."""
        return activation_range(self.output_activation_name)
