"""What every shallow autoencoder shares: one linear encoder and one linear decoder."""

from typing import Any

from torch import Tensor

from ae_lightning.models.base import Autoencoder
from ae_lightning.models.checks import require_positive
from ae_lightning.nn.activations import ActivationName
from ae_lightning.nn.dictionary import Dictionary


class ShallowAutoencoder(Autoencoder):
    """An autoencoder over a `Dictionary`, seen by callbacks and analysis through two views of its weights.

    Abstract: a variant says how it encodes and decodes on top of `self.dictionary`.

    Args:
        input_shape: Shape of one sample; it is flattened inside and restored in the reconstruction.
        latent_dim: Number of latents.
        activation: Activation of the code.
        instances: Independent copies trained side by side on the same data, or None for a single one.
        **kwargs: Arguments of `Autoencoder`.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        latent_dim: int = 1024,
        activation: ActivationName = "relu",
        instances: int | None = None,
        **kwargs: Any,
    ) -> None:
        require_positive(latent_dim=latent_dim, instances=instances)
        super().__init__(input_shape, **kwargs)
        self.latent_dim = latent_dim
        self.instances = instances
        self.activation_name: ActivationName = activation
        self.dictionary = Dictionary(self.input_size, latent_dim, activation, instances)

    @property
    def encoder_vectors(self) -> Tensor:
        """(…, latent, input): row i is what latent i reads. Edits write through to the parameter."""
        return self.dictionary.encoder_vectors

    @property
    def decoder_vectors(self) -> Tensor:
        """(…, latent, input): row i is what latent i writes. Edits write through to the parameter."""
        return self.dictionary.decoder_vectors

    @property
    def fires_above_zero(self) -> bool:
        """Whether a latent that does not fire is exactly zero, as with ReLU; a sigmoid only comes close."""
        return self.activation_name == "relu"

    def flatten(self, x: Tensor) -> Tensor:
        """Vectors from samples: (…, batch, *input_shape) to (…, batch, input)."""
        return x.flatten(x.ndim - len(self.input_shape))

    def unflatten(self, vectors: Tensor) -> Tensor:
        """Samples from vectors: (…, batch, input) to (…, batch, *input_shape)."""
        return vectors.unflatten(-1, self.input_shape)

    def snapshot(self) -> dict[str, Tensor]:
        """The weights as rows of latents, (…, latent, input), and the biases."""
        return {
            "encoder_vectors": self.encoder_vectors.detach(),
            "encoder_bias": self.dictionary.b_enc.detach(),
            "decoder_vectors": self.decoder_vectors.detach(),
            "decoder_bias": self.dictionary.b_dec.detach(),
        }
