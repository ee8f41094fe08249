"""A dictionary that reads scaled inputs, starts from training samples, and folds both into plain weights."""

import copy
from abc import abstractmethod
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ae_lightning.analysis.centers import geometric_median
from ae_lightning.errors import ConfigError
from ae_lightning.models.shallow import ShallowAutoencoder, dictionary_for
from ae_lightning.nn.dictionary import DictionaryInit
from ae_lightning.nn.folding import fold_dictionary
from ae_lightning.nn.scaling import InputScaling, InputScalingName, make_scaling
from ae_lightning.nn.starts import sample_rows, subspace_rows
from ae_lightning.training.samples import training_samples
from ae_lightning.training.trainer import trainer_of

Center = Literal["zero", "mean", "geometric_median"]
"""Where the decoder's bias starts: at zero, or in the middle of the training samples."""

Start = Literal[DictionaryInit, "samples", "active_subspace"]
"""How weights start.

Beside the ways of `DictionaryInit`: `samples`, where decoder rows point from the mean to training samples, with a fifth
of a random direction; `active_subspace`, where they lie in the span of the principal components that hold 99 % of the
training samples' variance. The encoder is then the decoder transposed.
"""

_SAMPLES_TO_START_FROM = 10_000
_FROM_SAMPLES = {"samples": sample_rows, "active_subspace": subspace_rows}


class ScaledDictionary(ShallowAutoencoder):
    """A shallow autoencoder whose dictionary reads inputs scaled, and whose output is in the data's units.

    Args:
        input_shape: Shape of one sample.
        latent_dim: Number of latents.
        activation: Activation of the code.
        instances: Independent copies trained side by side, or None for a single one.
        tied: Whether the decoder is the encoder transposed.
        init: How weights start: transpose, decoder rows of random direction and norm 1, with the encoder transposed
            from them; samples, the same with rows that point to training samples; active_subspace, the same with rows
            in the span of the leading principal components; linear, as `torch.nn.Linear` does; or kaiming, xavier,
            kaiming_joint, xavier_joint, as torch's functions do, of each instance or of all as one tensor.
        center: Where the decoder's bias starts: at zero, or in the middle (mean, geometric_median) of 10,000 training
            samples, which are drawn by the run's seed when a new model is first fitted.
        input_scaling: How inputs are scaled, estimated from the same samples: see `InputScalingName`.
        norm_weighted: Whether penalties and selections take a latent for as large as what it writes, its activation
            times the norm of its decoder row. It stands in place of rows of norm 1, as `DecoderNorm` keeps them.
        unit_norm: Whether decoding divides each decoder row by its norm.
        encoder_bias: Whether the encoder has a bias.
        **kwargs: Arguments of `Autoencoder`.
    """

    @abstractmethod
    def __init__(
        self,
        input_shape: tuple[int, ...],
        latent_dim: int,
        activation: nn.Module,
        instances: int | None = None,
        tied: bool = False,
        init: Start = "transpose",
        center: Center = "zero",
        input_scaling: InputScalingName = "none",
        norm_weighted: bool = False,
        unit_norm: bool = False,
        encoder_bias: bool = True,
        **kwargs: Any,
    ) -> None:
        dictionary = dictionary_for(
            input_shape,
            latent_dim,
            activation,
            instances,
            tied=tied,
            centered=True,
            encoder_bias=encoder_bias,
            init="transpose" if init in _FROM_SAMPLES else init,
            unit_norm=unit_norm,
        )
        super().__init__(input_shape, dictionary, **kwargs)
        if self.output_activation_name != "none" and input_scaling != "none":
            raise ConfigError(
                f"--model.output_activation {self.output_activation_name} belongs to the data's units, which inputs "
                "that are scaled do not have: set --model.input_scaling none, or leave it out"
            )
        self.norm_weighted = norm_weighted
        self.init: Start = init
        self.center: Center = center
        self.scaling = make_scaling(input_scaling, self.input_size)

    def inputs(self, x: Tensor) -> Tensor:
        """Vectors (…, batch, input) as the encoder reads them: flat, and scaled."""
        return self.scaling(self.flatten(x))

    def decode(self, z: Tensor) -> Tensor:
        """Reconstruction in the data's units: z (…, batch, latent) to (…, batch, *input_shape).

        A code does not tell the units of a sample that is standardized by itself; it is then left standardized.
        """
        x_hat = self.dictionary.decode(z, self.output_activation)
        return self.unflatten(self.scaling.undo(x_hat) if self.scaling.is_foldable else x_hat)

    def setup(self, stage: str) -> None:
        """Start from training samples what is to start from them, when a new model is first fitted."""
        if stage != "fit" or self.images_seen > 0:
            return
        asked = {
            "--model.center": self.center != "zero",
            "--model.init": self.init in _FROM_SAMPLES,
            "--model.input_scaling": not self.scaling.is_fitted,
        }
        if any(asked.values()):
            option = next(name for name, is_asked in asked.items() if is_asked)
            samples = training_samples(self.trainer, _SAMPLES_TO_START_FROM, option)
            # As weights are drawn that start without data, from the global random numbers.
            self.start_from(self.flatten(samples), torch.Generator().manual_seed(int(torch.randint(2**31, ()))))

    @torch.no_grad()
    def start_from(self, samples: Tensor, generator: torch.Generator) -> None:
        """Set what is to start from samples (…, n, input), flat and in the data's units.

        The generator, on the CPU, draws decoder rows.
        """
        self.scaling.fit(samples)
        scaled = self.scaling(samples.to(self.dictionary.b_dec))
        if self.center != "zero":
            self.dictionary.b_dec.copy_(scaled.mean(-2) if self.center == "mean" else geometric_median(scaled))
        if self.init in _FROM_SAMPLES:
            lead = () if self.instances is None else (self.instances,)
            each = scaled.expand(*lead, *scaled.shape[-2:])
            rows = _FROM_SAMPLES[self.init](each, self.latent_dim, generator)
            everyone = torch.ones(*lead, self.latent_dim, dtype=torch.bool, device=rows.device)
            self.dictionary.set_latents(everyone, rows[everyone], rows[everyone])

    def fold(self) -> "ScaledDictionary":
        """A copy with the same output whose dictionary reads the data as they are and has decoder rows of norm 1.

        Input scaling and decoder norms go into weights, biases and thresholds. A latent's activation becomes what it
        was times the norm of its row.

        Raises:
            ConfigError: Samples are scaled each by itself, or latents are selected in a way that norms would change.
        """
        trainer = trainer_of(self)
        folded = copy.deepcopy(self, {} if trainer is None else {id(trainer): None})
        folded.dictionary = fold_dictionary(self.dictionary, self.scaling)
        folded.scaling = InputScaling()
        folded.hparams.update(tied=False, unit_norm=False, input_scaling="none", norm_weighted=False)
        folded.norm_weighted = False
        return folded
