"""A dictionary that reads scaled inputs, starts from training samples, and folds both into plain weights."""

import copy
import math
from abc import abstractmethod
from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ae_lightning.analysis.centers import geometric_median
from ae_lightning.errors import ConfigError
from ae_lightning.models.dead_latents import RevivingAutoencoder
from ae_lightning.models.shallow import dictionary_for
from ae_lightning.nn.code_activation import CodeActivation
from ae_lightning.nn.dictionary import Dictionary, DictionaryInit
from ae_lightning.nn.folding import fold_dictionary
from ae_lightning.nn.scaling import InputScaling, InputScalingName, make_scaling
from ae_lightning.nn.sparse_code import SparseCode
from ae_lightning.nn.starts import sample_rows, subspace_rows
from ae_lightning.training.samples import training_pairs
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


class ScaledDictionary(RevivingAutoencoder):
    """A shallow autoencoder whose dictionary reads inputs scaled, and whose output is in the data's units.

    Args:
        input_shape: Shape of one sample.
        latent_dim: Number of latents.
        activation: Activation of the code.
        instances: Independent copies trained side by side, or None for a single one. Where each has samples of its own,
            it is scaled and started by them.
        tied: Whether the decoder is the encoder transposed.
        init: How weights start: transpose, decoder rows of random direction and norm 1, with the encoder transposed
            from them; directions, the same with encoder rows of directions of their own; samples, as transpose with
            rows that point to training samples; active_subspace, with rows in the span of the leading principal
            components; linear, as `torch.nn.Linear` does; or kaiming, xavier, kaiming_joint, xavier_joint, as torch's
            functions do, of each instance or of all as one tensor.
        start_norm: Norm of decoder and encoder rows at the start, where they start as directions: with init transpose,
            directions, samples or active_subspace. The shorter they are, the sooner a step of the optimizer turns them.
        center: Where the decoder's bias starts: at zero, or in the middle (mean, geometric_median) of 10,000 training
            samples, which are drawn by the run's seed when a new model is first fitted.
        input_scaling: How inputs are scaled, estimated from the same samples: see `InputScalingName`. With an output
            activation they are not, for it has a range in the data's units.
        norm_weighted: Whether penalties and selections take a latent for as large as what it writes, its activation
            times the norm of its decoder row. It stands in place of rows of norm 1, as `DecoderNorm` keeps them.
        unit_norm: Whether decoding divides each decoder row by its norm.
        encoder_bias: Whether the encoder has a bias.
        seed: Seed of the start weights, those from samples included, or a list with one for each instance; null draws
            them from the run's.
        **kwargs: Arguments of `RevivingAutoencoder`.
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
        start_norm: float = 1.0,
        center: Center = "zero",
        input_scaling: InputScalingName = "none",
        norm_weighted: bool = False,
        unit_norm: bool = False,
        encoder_bias: bool = True,
        seed: int | list[int] | None = None,
        **kwargs: Any,
    ) -> None:
        dictionary = self.make_dictionary(
            input_shape,
            latent_dim,
            activation,
            instances,
            seed,
            tied=tied,
            encoder_bias=encoder_bias,
            init="transpose" if init in _FROM_SAMPLES else init,
            unit_norm=unit_norm,
            row_norm=_checked_norm(start_norm, init),
        )
        super().__init__(input_shape, dictionary, **kwargs)
        if input_scaling != "none" and self.output_activation_name != "none":
            raise ConfigError(
                f"--model.output_activation {self.output_activation_name} has its range in the data's units, but with "
                f"--model.input_scaling {input_scaling} others are decoded: set one of them to none"
            )
        self.norm_weighted = norm_weighted
        self.init: Start = init
        self.start_norm = start_norm
        self.center: Center = center
        # An instance may have samples of its own: it is then scaled as it would be alone.
        self.scaling = make_scaling(input_scaling, self.input_size, self._lead)

    def make_dictionary(self, *arguments: Any, **options: Any) -> Dictionary:
        """The weights, of arguments that `dictionary_for` takes; the constructor calls it first of all.

        A variant overrides it whose encoder does not read x − b_dec.
        """
        return dictionary_for(*arguments, centered=True, **options)

    @property
    def output_scaling(self) -> InputScaling:
        """How what is to be produced is scaled: as inputs are, which it usually is."""
        return self.scaling

    def inputs(self, x: Tensor) -> Tensor:
        """Vectors (…, batch, input) as the encoder reads them: flat, and scaled."""
        return self.scaling(self.flatten(x))

    def scaled_target(self, target: Tensor) -> Tensor:
        """Vectors (…, batch, output) as the decoder writes them, from targets (…, batch, *output_shape)."""
        return self.output_scaling(super().scaled_target(target))

    def decode(self, z: Tensor | SparseCode) -> Tensor:
        """Reconstruction in the data's units: z (…, batch, latent), dense or sparse, to (…, batch, *output_shape).

        A code does not tell the units of a sample that is standardized by itself; it is then left standardized.
        """
        x_hat = self.dictionary.decode(z, self.output_activation)
        return self.unflatten(self.output_scaling.undo(x_hat) if self.output_scaling.is_foldable else x_hat)

    @property
    def decodes_to_data(self) -> bool:  # type: ignore[override]
        """Whether `decode` gives samples in the data's units."""
        return self.output_scaling.is_foldable

    def reading(self, rows: Tensor) -> Tensor:
        """Encoder rows (…, latent, input) as they act on samples in the data's units."""
        return self.scaling.fold_reading(rows.mT).mT

    def writing(self, rows: Tensor, x: Tensor | None = None) -> Tensor:
        """Decoder rows (…, latent, output) as they add to a reconstruction, of a sample x (1, *input_shape)."""
        scaling = self.output_scaling
        if scaling.is_foldable:
            return scaling.fold_writing(rows)
        if x is None:
            return rows
        flat = self.flatten(x)
        return scaling.undo(rows, flat) - scaling.undo(torch.zeros_like(rows), flat)

    def written_bias(self, x: Tensor | None = None) -> Tensor:
        """What a reconstruction, of a sample x (1, *input_shape), is without any latent, (…, output)."""
        bias, scaling = self.dictionary.b_dec, self.output_scaling
        if x is None and not scaling.is_foldable:
            return bias
        return scaling.undo(bias.unsqueeze(-2), None if x is None else self.flatten(x)).squeeze(-2)

    def setup(self, stage: str) -> None:
        """Start from training samples what is to start from them, when a new model is first fitted."""
        if stage != "fit" or self.images_seen > 0:
            return
        asked = {
            "--model.center": self.center != "zero",
            "--model.init": self.init in _FROM_SAMPLES,
            "--model.input_scaling": not (self.scaling.is_fitted and self.output_scaling.is_fitted),
        }
        if any(asked.values()):
            option = next(name for name, is_asked in asked.items() if is_asked)
            samples, targets = training_pairs(self.trainer, _SAMPLES_TO_START_FROM, option)
            written = self.as_target(targets).flatten(-len(self.output_shape))
            self.start_from(self.flatten(samples), self._start_generators(), written)

    @torch.no_grad()
    def start_from(
        self,
        samples: Tensor,
        generator: torch.Generator | Sequence[torch.Generator],
        targets: Tensor | None = None,
    ) -> None:
        """Set what is to start from samples (n, input), or (instances, n, input), flat and in the data's units.

        The generator, on the CPU, draws decoder rows; of several each draws those of an instance. Targets (…, n,
        output) are what is to be produced of these samples, in place of them.
        """
        targets = samples if targets is None else targets
        self.scaling.fit(samples)
        if self.output_scaling is not self.scaling:
            self.output_scaling.fit(targets)
        if self.center != "zero":
            written = self.output_scaling(targets.to(self.dictionary.b_dec))
            self.dictionary.b_dec.copy_(written.mean(-2) if self.center == "mean" else geometric_median(written))
        if self.init in _FROM_SAMPLES:
            scaled = self.scaling(samples.to(self.dictionary.b_dec))
            each = scaled.expand(*self._lead, *scaled.shape[-2:])
            rows_from = _FROM_SAMPLES[self.init]
            if isinstance(generator, torch.Generator):
                rows = rows_from(each, self.latent_dim, generator)
            else:
                drawn = (rows_from(one, self.latent_dim, own) for one, own in zip(each, generator, strict=True))
                rows = torch.stack(list(drawn))
            rows = rows * self.start_norm
            everyone = torch.ones(*self._lead, self.latent_dim, dtype=torch.bool, device=rows.device)
            self.dictionary.set_latents(everyone, rows[everyone], rows[everyone])

    def _start_generators(self) -> torch.Generator | list[torch.Generator]:
        """What draws a start from samples: as weights are drawn that start without data."""
        seeds = self.dictionary.seeds
        if seeds is None:
            return torch.Generator().manual_seed(int(torch.randint(2**31, ())))
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        return generators[0] if self.instances is None else generators

    @property
    def _lead(self) -> tuple[int, ...]:
        """What stands before the axes of a single instance."""
        return () if self.instances is None else (self.instances,)

    @property
    def compares_norms(self) -> bool:
        """Whether latents are selected by pre-activation × norm of the decoder's row."""
        activation = self.dictionary.activation
        return isinstance(activation, CodeActivation) and activation.weighted

    @property
    def is_folded(self) -> bool:
        """Whether there is nothing to fold: inputs are not scaled, and latents not compared by norms."""
        plain = all(type(scaling) is InputScaling for scaling in (self.scaling, self.output_scaling))
        return plain and not self.compares_norms

    def fold(self, norms: bool = True) -> "ScaledDictionary":
        """A copy with the same output whose dictionary reads the data as they are, and compares latents without norms.

        Input scaling and decoder norms go into weights, biases and thresholds. A latent's activation becomes what it
        was times the norm of its row, which is 1 before the scaling goes into it. The copy is in no trainer; a further
        training of it has losses in the data's units.

        In float32 the output is off by 1e-7 to 4e-7 of its norm. Where data lie R deviations from zero, that is up to
        R times as much of what of the output varies (2e-5 at R = 100, 2e-4 at 1,000), and a latent whose
        pre-activation is as close to its threshold may fire in one of them alone. `double()` first where this matters.

        Args:
            norms: Whether to fold norms too; without, codes stay as they are. They have to be where `compares_norms`.

        Raises:
            ConfigError: Samples are scaled each by itself, or latents are selected in a way that norms would change,
                or that they would not be folded into.
        """
        if self.compares_norms and not norms:
            raise ConfigError("latents that are selected by norms of the decoder's rows cannot be folded without these")
        folded = copy.deepcopy(self, {id(trainer_of(self)): None})
        folded.dictionary = fold_dictionary(self.dictionary, self.scaling, norms, self.output_scaling)
        folded.scaling = InputScaling()
        folded.hparams.update(tied=False, unit_norm=False, input_scaling="none")
        if norms:
            folded.hparams.update(norm_weighted=False)
            folded.norm_weighted = False
        folded._compiled_terms = None  # it computes with the weights of this model
        return folded


def _checked_norm(start_norm: float, init: Start) -> float:
    if not 0 < start_norm < math.inf:
        raise ConfigError(f"--model.start_norm is {start_norm:g}; it must be above 0")
    if start_norm != 1 and init not in ("transpose", "directions", *_FROM_SAMPLES):
        raise ConfigError(
            f"--model.start_norm is {start_norm:g}, but with --model.init {init} rows do not start as directions: "
            "leave it out, or choose transpose, directions, samples or active_subspace"
        )
    return start_norm
