"""The overcomplete autoencoder: what does gradient descent find when nothing forces it to compress?"""

from typing import Any

from ae_lightning.models.dead_latents import RevivingAutoencoder
from ae_lightning.models.shallow import dictionary_for
from ae_lightning.nn.activations import ActivationName
from ae_lightning.training.population import count_of


class OvercompleteAutoencoder(RevivingAutoencoder):
    """One hidden layer, wider than the input: 784 → 1024 → 784 on MNIST, ReLU code, linear output.

    The experiment is "Gradient descent bias in overcomplete autoencoders". Identity would be a perfect solution;
    which features are found instead is the doing of gradient descent alone.

    Args:
        input_shape: Shape of one sample, such as (1, 28, 28). The command line takes it from the data.
        latent_dim: Width of the hidden layer.
        activation: Activation of the code.
        output_activation: Activation of the reconstruction; sigmoid where pixels lie within [0, 1].
        instances: Independent copies trained side by side on the same data, or None for a single one.
        seed: Seed of the start weights, or a list with one for each instance; null draws them from the run's.
        **kwargs: Arguments of `RevivingAutoencoder`, such as `auxk_weight`, which asks for a ReLU code.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        latent_dim: int = 1024,
        activation: ActivationName = "relu",
        output_activation: ActivationName = "none",
        instances: int | None = None,
        seed: int | list[int] | None = None,
        **kwargs: Any,
    ) -> None:
        dictionary = dictionary_for(input_shape, latent_dim, activation, count_of(instances, seed=seed), seed)
        super().__init__(input_shape, dictionary, output_activation=output_activation, **kwargs)
