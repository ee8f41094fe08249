"""What every shallow autoencoder shares: one linear encoder and one linear decoder."""

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ae_lightning.errors import ConfigError
from ae_lightning.models.base import Autoencoder
from ae_lightning.nn.activations import ActivationName, activation_range
from ae_lightning.nn.activations import activation as make_activation
from ae_lightning.nn.dictionary import Dictionary
from ae_lightning.nn.precision import at_least_float32
from ae_lightning.nn.silence import SilentSamples
from ae_lightning.training.batch import instances_first
from ae_lightning.training.checks import require_positive
from ae_lightning.training.population import seeds_of
from ae_lightning.training.restore import require_fit, write_back

# State that a snapshot holds by other names.
_VIEWED = {f"dictionary.{name}" for name in ("W_enc", "b_enc", "W_dec", "b_dec")}
# Of an entry of a row of norm 1, in the coarsest format that snapshots have.
_ROUNDING = 2**-8


def dictionary_for(
    input_shape: tuple[int, ...],
    latent_dim: int,
    activation: ActivationName | nn.Module,
    instances: int | None,
    seed: int | list[int] | None = None,
    **options: Any,
) -> Dictionary:
    """The dictionary of a shallow variant for samples of a shape, which it sees flat.

    Raises:
        ConfigError: The number of latents or of instances is not at least 1, a seed is none, or there is a seed beside
            a start that is drawn for all instances together.
    """
    require_positive(latent_dim=latent_dim, instances=instances)
    init, seeds = options.get("init", ""), seeds_of(seed, instances)
    if seeds is not None and instances is not None and init.endswith("_joint"):
        raise ConfigError(
            f"--model.init {init} draws all instances as one tensor, but --model.seed draws each by itself: set "
            f"--model.init {init.removesuffix('_joint')}, or leave the seed out"
        )
    code = make_activation(activation, inplace=True) if isinstance(activation, str) else activation
    return Dictionary(math.prod(input_shape), latent_dim, code, instances, seeds=seeds, **options)


class ShallowAutoencoder(Autoencoder):
    """An autoencoder over a `Dictionary`, seen by callbacks and analysis through two views of its weights.

    Abstract: a variant's constructor makes the dictionary. Encoding and decoding are the dictionary's alone, the latter
    through an activation of the output if there is one.

    Args:
        input_shape: Shape of one sample; it is flattened inside and restored in the reconstruction.
        dictionary: The weights, as `dictionary_for` makes them.
        output_activation: Activation of the reconstruction.
        **kwargs: Arguments of `Autoencoder`.
    """

    @abstractmethod  # a variant's own says what its dictionary is
    def __init__(
        self,
        input_shape: tuple[int, ...],
        dictionary: Dictionary,
        output_activation: ActivationName = "none",
        **kwargs: Any,
    ) -> None:
        super().__init__(input_shape, **kwargs)
        self.dictionary = dictionary
        #: Counts for how long each latent has not fired, where a term of the loss asks for it.
        self.silence: SilentSamples | None = None
        self.latent_dim = dictionary.latent_dim
        self.instances = dictionary.instances
        self.output_activation_name: ActivationName = output_activation
        self.output_activation = make_activation(output_activation, inplace=True)

    def encode(self, x: Tensor) -> Tensor:
        """Code: x (batch, *input_shape) to (batch, latent), or (instances, batch, latent)."""
        return self.dictionary.encode(self.inputs(x))

    def decode(self, z: Tensor) -> Tensor:
        """Reconstruction: z (…, batch, latent) to (…, batch, *output_shape)."""
        return self.unflatten(self.dictionary.decode(z, self.output_activation))

    @property
    def output_range(self) -> tuple[float, float]:
        """Range of the output activation."""
        return activation_range(self.output_activation_name)

    @property
    def encoder_vectors(self) -> Tensor:
        """(…, latent, input): row i is what latent i reads. Edits write through to the parameter."""
        return self.dictionary.encoder_vectors

    @property
    def decoder_vectors(self) -> Tensor:
        """(…, latent, input): row i is what latent i writes.

        Edits write through to the parameter, unless the dictionary divides rows as it uses them (`unit_norm`): what is
        written then is `dictionary.decoder_rows`.
        """
        return self.dictionary.decoder_vectors

    def reading(self, rows: Tensor) -> Tensor:
        """Encoder rows (…, latent, input), such as those of a snapshot, as they act on samples in the data's units.

        They do as they are, unless a variant scales its input.
        """
        return rows

    def writing(self, rows: Tensor, x: Tensor | None = None) -> Tensor:
        """Decoder rows (…, latent, output) as they add to a reconstruction in the data's units.

        Args:
            rows: As the dictionary has them, or a snapshot.
            x: The sample (1, *input_shape) that is reconstructed, for variants that scale each by itself; without it
                theirs stay in scaled units.
        """
        return rows

    def written_bias(self, x: Tensor | None = None) -> Tensor:
        """What a reconstruction is without any latent, (…, output), in the units of `writing`."""
        return self.dictionary.b_dec

    @property
    def fires_above_zero(self) -> bool:
        """Whether a latent that does not fire is exactly zero, as with ReLU; a sigmoid only comes close."""
        return self.dictionary.is_rectified

    @property
    def latent_axes(self) -> dict[nn.Parameter, int]:
        """Parameters that have one entry for each latent, and the axis of latents, counted from the end."""
        return self.dictionary.latent_axes

    def set_latents(self, which: Tensor, encoder: Tensor, decoder: Tensor) -> None:
        """Give some latents new weights, as `Dictionary.set_latents` does."""
        self.dictionary.set_latents(which, encoder, decoder)

    def flatten(self, x: Tensor) -> Tensor:
        """Vectors from samples: (batch, *input_shape) to (batch, input).

        Samples of each instance's own, (batch, instances, *input_shape), become (instances, batch, input).
        """
        return instances_first(x, len(self.input_shape)).flatten(x.ndim - len(self.input_shape))

    def inputs(self, x: Tensor) -> Tensor:
        """Vectors (…, batch, input) as the encoder reads them, from samples: flat unless a variant scales them."""
        return self.flatten(x)

    def scaled_target(self, target: Tensor) -> Tensor:
        """Vectors (…, batch, output) as the decoder writes them, from targets (…, batch, *output_shape)."""
        return target.flatten(-len(self.output_shape))

    def unflatten(self, vectors: Tensor) -> Tensor:
        """Samples from vectors: (…, batch, output) to (…, batch, *output_shape)."""
        return vectors if len(self.output_shape) == 1 else vectors.unflatten(-1, self.output_shape)

    def snapshot(self) -> dict[str, Tensor]:
        """The weights as rows of latents, (…, latent, input), the biases that there are, and all other state by name.

        `decoder_vectors` are the rows that decoding uses; where it divides those that it keeps by their norm, these are
        there too, as `decoder_rows`.
        """
        dictionary = self.dictionary
        parts = {
            "encoder_vectors": self.encoder_vectors,
            "encoder_bias": dictionary.b_enc,
            "decoder_vectors": self.decoder_vectors,
            "decoder_rows": dictionary.W_dec if dictionary.unit_norm else None,
            "decoder_bias": dictionary.b_dec,
        }
        named = {name: part.detach() for name, part in parts.items() if part is not None}
        return named | {name: value.detach() for name, value in self.state_dict().items() if name not in _VIEWED}

    def restore(self, snapshot: Mapping[str, Tensor]) -> None:
        """Write a snapshot into the weights and biases.

        Raises:
            ValueError: It does not fit, or the weights are tied and those of the snapshot were not; nothing is written.
        """
        parts = self.snapshot()
        require_fit(snapshot, parts, type(self).__name__)
        self._require_tied_as_here(snapshot)
        if self.dictionary.unit_norm:
            del parts["decoder_vectors"]  # made of the others at each use
        write_back({name: snapshot[name] for name in parts}, parts, type(self).__name__)

    def _require_tied_as_here(self, snapshot: Mapping[str, Tensor]) -> None:
        if self.dictionary.W_dec is not None:
            return
        encoder, decoder = snapshot["encoder_vectors"], snapshot["decoder_vectors"]
        rounding = 0.0
        if self.dictionary.unit_norm:
            encoder, rounding = F.normalize(at_least_float32(encoder), dim=-1), _ROUNDING
        if not torch.allclose(encoder, decoder.to(encoder), rtol=0, atol=rounding, equal_nan=True):
            raise ValueError(
                f"the snapshot has an encoder and a decoder of its own, but the weights of this {type(self).__name__} "
                "are tied"
            )
