"""The plain autoencoder over any network, and the base of every objective that is trained over one."""

from typing import Any

from torch import Tensor, nn

from ae_lightning.models.base import Autoencoder
from ae_lightning.nn.activations import ActivationName, activation_range
from ae_lightning.nn.layers import Layers
from ae_lightning.nn.modes import evaluation_mode
from ae_lightning.nn.network import Coding, Network
from ae_lightning.nn.networks import NetworkName, network_named
from ae_lightning.training.checks import require_positive


class NetworkAutoencoder(Autoencoder):
    """Any encoder with its decoder, trained to reproduce what it reads.

    The network is one of the names mlp, conv and deep_conv, or one of the classes behind them with settings of its own,
    such as `MLPNetwork`, or an `OwnNetwork` of modules that you wrote.

    Other objectives are subclasses: they add their terms, and say what kind of code they need.

    Args:
        input_shape: Shape of one sample, such as (1, 28, 28). The command line takes it from the data.
        latent_dim: Width of a code that is a vector, channels of one that is a map.
        network: Encoder and decoder.
        output_activation: Activation of the reconstruction; sigmoid asks for pixels within [0, 1].
        _numbers_per_output: Numbers that the decoder gives for each of a sample, for a variant's constructor to
            choose: 2 for a mean and a log variance, one block of channels after the other on dim 1.
        **kwargs: Arguments of `Autoencoder`.

    Raises:
        ConfigError: The network cannot take such samples or give such a code.
    """

    #: Whether a code may be any number, so that the encoder ends in a linear layer whatever the network.
    linear_code: bool = False

    #: Numbers that the encoder gives for each latent, blocks of channels on dim 1: 2 for a mean and a log variance.
    numbers_per_latent: int = 1

    def __init__(
        self,
        input_shape: tuple[int, ...],
        latent_dim: int = 20,
        network: NetworkName | Network = "mlp",
        output_activation: ActivationName = "sigmoid",
        _numbers_per_output: int = 1,
        **kwargs: Any,
    ) -> None:
        require_positive(latent_dim=latent_dim)
        super().__init__(input_shape, **kwargs)
        self.latent_dim = latent_dim
        self.output_activation_name: ActivationName = output_activation
        if isinstance(network, str):
            network = network_named(network)
        elif isinstance(self.hparams.get("network"), Network):  # of a Python caller; checkpoints hold plain values
            self.hparams["network"] = network.settings
        coding = Coding(
            self.input_shape,
            latent_dim,
            self.linear_code or self.numbers_per_latent > 1,
            self.numbers_per_latent,
            _numbers_per_output,
            output_activation,
        )
        self.encoder, self.decoder = network.build(coding)
        with evaluation_mode(self.encoder):
            given = self.encoder(next(self.parameters()).new_zeros(1, *self.input_shape))
        #: Shape of a code as the decoder takes it, without the batch: (latent_dim,) or (latent_dim, height, width).
        self.code_shape: tuple[int, ...] = (latent_dim, *given.shape[2:])

    def encode(self, x: Tensor) -> Tensor:
        """Code: x (batch, *input_shape) to (batch, *code_shape)."""
        return self.encoder(x)

    def decode(self, z: Tensor) -> Tensor:
        """Reconstruction: z (batch, *code_shape) to (batch, *input_shape)."""
        return self.decoder(z)

    def layer_outputs(self, x: Tensor, after_activation: bool = False) -> list[Tensor]:
        """What each hidden layer of the encoder gives; what the option adds is said at the base.

        Modules of the user's own have no layers that are known.
        """
        hidden = self.encoder.layer_outputs(x, after_activation)[:-1] if isinstance(self.encoder, Layers) else []
        return [*hidden, self.encode(x)] if after_activation else hidden

    @property
    def output_activation(self) -> nn.Module:
        """What `decode` does with each number that the decoder gives: nothing unless a variant says otherwise."""
        return nn.Identity()

    @property
    def output_range(self) -> tuple[float, float]:
        """Range of the output activation."""
        return activation_range(self.output_activation_name)
