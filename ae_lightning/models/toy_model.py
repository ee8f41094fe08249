"""The toy model of superposition: more features than dimensions, held apart by their sparsity."""

from typing import Any, Literal

from torch import Tensor

from ae_lightning.errors import ConfigError
from ae_lightning.losses.reconstruction import reconstruction_loss
from ae_lightning.models.base import AutoencoderOutput
from ae_lightning.models.shallow import ShallowAutoencoder, dictionary_for
from ae_lightning.nn.activations import ActivationName
from ae_lightning.per_feature import PerFeature, per_feature
from ae_lightning.training.population import count_of

ToyInit = Literal["xavier", "xavier_joint"]
"""How weights start, as `nn.dictionary.DictionaryInit` says; `xavier_joint` is the workshop's."""


class ToyModel(ShallowAutoencoder):
    """x̂ = ReLU(Wᵀ W x + b): features x are pressed through a few hidden dimensions, h = W x, and read out again.

    Where features are sparse, more of them than hidden dimensions are kept, as directions that are not orthogonal:
    superposition. Five features of equal importance in two dimensions become a regular pentagon. In terms of the other
    shallow variants W is an encoder (…, latent, input) without a bias, and the decoder is the same, transposed.

    The loss is the mean over batch and features of importance × squared error, summed over instances.

    Source: Elhage et al. (2022), "Toy Models of Superposition".

    Args:
        input_shape: Shape of one sample, (features,). The command line takes it from the data.
        latent_dim: Number of hidden dimensions.
        importance: Weight of each feature's error: a number, a list with one for each feature, or a list of lists for
            each instance.
        output_activation: Activation of the reconstruction.
        instances: Independent copies trained side by side, or None for a single one.
        init: How weights start: N(0, 2/(features + latents)) in each instance (xavier), or as torch's function has it
            for all instances as one tensor (xavier_joint), a quarter of that length for 16 of 5 features in 2.
        seed: Seed of the start weights, or a list with one for each instance; null draws them from the run's.
        **kwargs: Arguments of `Autoencoder`.
    """

    importance: Tensor | None

    def __init__(
        self,
        input_shape: tuple[int, ...],
        latent_dim: int = 2,
        importance: PerFeature = 1.0,
        output_activation: ActivationName = "relu",
        instances: int | None = None,
        init: ToyInit = "xavier",
        seed: int | list[int] | None = None,
        **kwargs: Any,
    ) -> None:
        copies = count_of(instances, seed=seed)
        dictionary = dictionary_for(
            input_shape, latent_dim, "none", copies, seed, tied=True, encoder_bias=False, init=init
        )
        super().__init__(input_shape, dictionary, output_activation, **kwargs)
        weight = per_feature("--model.importance", importance, self.input_size, copies)
        if not bool((weight >= 0).all()):
            raise ConfigError("--model.importance has a number below 0; each must be at least 0")
        # All equal to 1 is no weight at all, and costs nothing.
        self.register_buffer("importance", None if bool((weight == 1).all()) else weight, persistent=False)

    @property
    def feature_directions(self) -> Tensor:
        """(…, features, latent): row i is the hidden state of feature i alone. Edits write through to the parameter."""
        return self.encoder_vectors.mT

    def settings_of(self, instance: int) -> dict[str, Any]:
        """Settings of a single model in an instance's place, with the importance that features have in it."""
        settings = super().settings_of(instance)
        importance = settings.get("importance", 1.0)
        if not (isinstance(importance, list) and importance and isinstance(importance[0], list)):
            return settings
        own = importance[instance]
        return settings | {"importance": own[0] if len(own) == 1 else own}

    def loss_terms(self, target: Tensor, output: AutoencoderOutput) -> dict[str, Tensor]:
        """The reconstruction's error, each feature's multiplied by its importance."""
        weight = (
            None if self.importance is None else self.unflatten(self.importance).unsqueeze(-1 - len(self.input_shape))
        )
        error = reconstruction_loss(
            self.reconstruction_loss, output.x_hat, target, self.instances, weight, self.tells_apart
        )
        return {"reconstruction": error}
