"""Vector-quantized autoencoders: a code of integers, each of which names a learned vector."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from torch import Tensor, nn

from ae_lightning.errors import ConfigError
from ae_lightning.losses.quantization import codebook, commitment
from ae_lightning.losses.reconstruction import reconstruction_loss
from ae_lightning.metrics.codebook import perplexity
from ae_lightning.models.networked import NetworkAutoencoder
from ae_lightning.nn.codebook import Codebook, Quantized
from ae_lightning.nn.network import Network
from ae_lightning.nn.networks import NetworkName
from ae_lightning.nn.precision import like_weights
from ae_lightning.nn.silence import SilentSamples
from ae_lightning.training.batch import AutoencoderOutput
from ae_lightning.training.checks import require_fraction, require_not_negative, require_positive
from ae_lightning.training.trainer import trainer_of

_GROUPS_OF_A_VECTOR = 8


class QuantizedOutput(NamedTuple):
    """What a step's forward pass gives: x̂, the code of chosen vectors, and how they were chosen."""

    x_hat: Tensor
    z: Tensor
    quantized: Quantized


class VQVAE(NetworkAutoencoder):
    """Each vector of the encoder's output is replaced by the nearest of a codebook: the code is a few integers.

    A convolutional network gives a grid of vectors, one for each place; the vector that a fully connected one gives is
    split into `groups`. Gradients pass the codebook as if it were not there. Terms are `reconstruction`; `commitment`,
    by which vectors keep close to their codes; and, where codes move by gradient, `codebook`, by which codes follow
    their vectors. The last two are means over vectors and entries, summed over depths.

    `encode` gives the chosen codes as numbers, `indices_of` which ones they are, and `decode_indices` the way back.
    Codes that nothing chooses never move: the callback `ResampleDeadLatents` puts vectors of training samples in their
    place. `measures/perplexity` and `measures/usage` are those of the last hundred steps, of all processes together.

    Source: van den Oord et al. (2017), "Neural Discrete Representation Learning".

    Args:
        input_shape: Shape of one sample, such as (1, 28, 28). The command line takes it from the data.
        latent_dim: Width of the encoder's output, or channels of its map.
        network: Encoder and decoder.
        codes: How many codes each codebook has.
        groups: Parts of the width, or of the channels of each place, that get a code each; null is 8 for a vector and 1
            for a map.
        product: Whether each group has a codebook of its own; else all share one.
        depth: Codebooks one after the other, each for what those before left over; 1 is no residual.
        codebook_update: How codes move: as running means of the vectors that chose them (ema), or by the optimizer
            (gradient).
        decay: What a running mean keeps at an optimizer step.
        commitment_weight: Coefficient of `commitment`.
        **kwargs: Arguments of `NetworkAutoencoder`.

    Raises:
        ConfigError: The groups do not divide the width.
    """

    linear_code = True

    def __init__(
        self,
        input_shape: tuple[int, ...],
        latent_dim: int = 64,
        network: NetworkName | Network = "mlp",
        codes: int = 512,
        groups: int | None = None,
        product: bool = False,
        depth: int = 1,
        codebook_update: Literal["ema", "gradient"] = "ema",
        decay: float = 0.99,
        commitment_weight: float = 0.25,
        **kwargs: Any,
    ) -> None:
        require_positive(codes=codes, groups=groups, depth=depth)
        require_fraction(decay=decay)
        require_not_negative(commitment_weight=commitment_weight)
        super().__init__(input_shape, latent_dim=latent_dim, network=network, **kwargs)
        self.codes = codes
        self.commitment_weight = commitment_weight
        parts = groups or (_GROUPS_OF_A_VECTOR if len(self.code_shape) == 1 else 1)
        self.codebook = Codebook(
            self.code_shape, codes, parts, product, depth, learned=codebook_update == "gradient", decay=decay
        )

    # --- codes -------------------------------------------------------------------------------------------------

    def encode(self, x: Tensor) -> Tensor:
        """The chosen codes: x (batch, *input_shape) to (batch, *code_shape)."""
        return self.quantize(x).values

    def quantize(self, x: Tensor) -> Quantized:
        """Encode x (batch, *input_shape), and choose codes for it."""
        return self.codebook(super().encode(x))

    def indices_of(self, x: Tensor) -> Tensor:
        """Which codes are chosen for x (batch, *input_shape): (batch, *index_shape), int64, from 0 to `codes` − 1."""
        return self.quantize(x).indices

    def decode_indices(self, indices: Tensor) -> Tensor:
        """Reconstruction from (batch, *index_shape), as `indices_of` gives them, to (batch, *input_shape)."""
        return self.decode(like_weights(self.decoder, self.codebook.look_up(indices)))

    @property
    def index_shape(self) -> tuple[int, ...]:
        """Shape of the indices of one sample: depth × groups, the depths one after the other, and then the grid."""
        return self.codebook.index_shape

    def predicted(self, x: Tensor) -> AutoencoderOutput:
        """Reconstruction, and the indices of its codes."""
        quantized = self.quantize(x)
        return AutoencoderOutput(self.decode(quantized.values), quantized.indices)

    # --- the loss ----------------------------------------------------------------------------------------------

    def terms(self, x: Tensor, target: Tensor) -> tuple[dict[str, Tensor], Any]:
        """Forward pass of x, and the terms of the loss; the output is a `QuantizedOutput`."""
        quantized = self.quantize(x)
        output = QuantizedOutput(self.decode(quantized.values), quantized.values, quantized)
        terms = {
            "reconstruction": reconstruction_loss(self.reconstruction_loss, output.x_hat, target),
            "commitment": commitment(quantized.residuals, quantized.chosen),
        }
        if self.codebook.learned:
            terms["codebook"] = codebook(quantized.residuals, quantized.chosen)
        return terms, output

    @property
    def loss_weights(self) -> Mapping[str, float | Tensor]:
        """Coefficients of the terms."""
        return {"commitment": self.commitment_weight}

    def measures(self) -> dict[str, Tensor]:
        """`perplexity`, a mean over codebooks, and `usage`, the part of all codes that was chosen."""
        return {"perplexity": perplexity(self.codebook.rates).mean(), "usage": self.codebook.usage()}

    # --- moving on ---------------------------------------------------------------------------------------------

    def configure_optimizers(self) -> Any:
        """Refuse more codes than training samples have vectors; build the optimizer and its schedule."""
        trainer = trainer_of(self)
        data: Any = trainer.datamodule if trainer else None  # type: ignore[attr-defined]
        if hasattr(data, "train_set"):
            self.require_vectors(len(data.train_set), "the training set")
        return super().configure_optimizers()

    def observe(self, output: QuantizedOutput) -> None:
        """Gather which codes a batch chose."""
        self.codebook.observe(output.quantized)

    def advance(self) -> None:
        """Move the codes, and count how often they were chosen, by what the batches of a step told."""
        self.codebook.advance(self._reduce)

    def forget(self) -> None:
        """Drop what the batches of a step told that was skipped."""
        self.codebook.forget()

    # --- revival -----------------------------------------------------------------------------------------------

    @property
    def silence(self) -> SilentSamples:
        """Counts the optimizer steps since each code was last chosen, (book, code)."""
        return self.codebook.silence

    @property
    def latent_axes(self) -> dict[nn.Parameter, int]:
        """Parameters that have one entry for each code, and the axis of codes, counted from the end."""
        codes = self.codebook.codes
        return {codes: -2} if isinstance(codes, nn.Parameter) else {}

    def set_latents(self, which: Tensor, vectors: Tensor) -> None:
        """Put vectors (n, width) in place of the n codes (book, code) that are true."""
        self.codebook.revive(which, vectors)

    def require_vectors(self, samples: int, of: str) -> None:
        """Check that there are as many vectors as codes that they may be put in place of.

        Args:
            samples: How many samples there are.
            of: Whose they are, for the message.

        Raises:
            ConfigError: There are fewer.
        """
        vectors = samples * self.codebook.vectors_of_a_sample
        if self.codes > vectors:
            raise ConfigError(
                f"--model.codes is {self.codes:,}, but the {samples:,} samples of {of} have only {vectors:,} vectors "
                "that could revive unused codes: ask for fewer codes, or give more samples"
            )
