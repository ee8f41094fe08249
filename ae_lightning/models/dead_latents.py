"""Latents that have stopped firing: how they are counted, and AuxK, by which they learn again."""

import math
import warnings
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ae_lightning.errors import ConfigError, Notice
from ae_lightning.losses.auxk import auxk, auxk_of_dead
from ae_lightning.models.base import AutoencoderOutput
from ae_lightning.models.shallow import ShallowAutoencoder
from ae_lightning.nn.code_activation import CodeActivation, is_rectified
from ae_lightning.nn.dictionary import Dictionary
from ae_lightning.nn.silence import SilentSamples
from ae_lightning.training.batch import StepOutput
from ae_lightning.training.checks import require_not_negative, require_positive
from ae_lightning.training.run_length import RunLength
from ae_lightning.training.trainer import trainer_of

_LONGEST_SILENCE = 10_000_000


class RevivingAutoencoder(ShallowAutoencoder):
    """A shallow autoencoder that can count for how long its latents are silent, and train dead ones by AuxK.

    Without AuxK nothing is counted, and a step is what it is in a `ShallowAutoencoder`.

    Source: Gao et al. (2024), "Scaling and evaluating sparse autoencoders", arXiv 2406.04093, appendix A.2.

    Args:
        input_shape: Shape of one sample.
        dictionary: The weights, as `dictionary_for` makes them.
        auxk_weight: Coefficient of AuxK, by which dead latents learn to explain what the living leave over; 0 is none.
            Beside `mse_sum` it is to be d times what it is beside `mse`, for d dimensions.
        k_aux: Dead latents of a sample that AuxK takes; null is the power of two next below half the input's size.
        auxk_relu: Whether pre-activations that AuxK takes pass a ReLU (OpenAI): those below zero then get no gradient.
        dead_after: Training samples without firing after which a latent is dead; null is a tenth of the run's, at most
            10 million.
        **kwargs: Arguments of `ShallowAutoencoder`.

    Raises:
        ConfigError: No code of the dictionary's activation is exactly zero, so that AuxK would find no dead latent.
    """

    @abstractmethod
    def __init__(
        self,
        input_shape: tuple[int, ...],
        dictionary: Dictionary,
        auxk_weight: float = 0.0,
        k_aux: int | None = None,
        auxk_relu: bool = False,
        dead_after: int | None = None,
        **kwargs: Any,
    ) -> None:
        require_not_negative(auxk_weight=auxk_weight)
        require_positive(k_aux=k_aux, dead_after=dead_after)
        if auxk_weight > 0:
            _require_silent_latents(auxk_weight, dictionary.activation)
        super().__init__(input_shape, dictionary, **kwargs)
        self.auxk_weight = auxk_weight
        self.k_aux = min(self.latent_dim, k_aux or 1 << max(0, (self.input_size // 2).bit_length() - 1))
        self.auxk_relu = auxk_relu
        self.dead_after = dead_after
        self._samples_of_run = math.inf
        self._any_dead = True
        if auxk_weight > 0:
            self.count_silence()

    def count_silence(self) -> None:
        """Count from now on for how long each latent has not fired; a variant's constructor may ask for it too."""
        if self.silence is None:
            self.silence = SilentSamples(self.latent_dim, self.instances)

    # --- the loss ----------------------------------------------------------------------------------------------

    def terms(self, x: Tensor, target: Tensor) -> tuple[dict[str, Tensor], StepOutput]:
        """Forward pass of x, and the terms of the loss; AuxK among them where it is asked for."""
        if self.silence is None:
            return super().terms(x, target)
        vectors = self.inputs(x)
        pre, z = self.coded(vectors)
        output = AutoencoderOutput(self.decode(z), z)
        flat_target, x_hat = (samples.flatten(-len(self.output_shape)) for samples in (target, output.x_hat))
        return self.loss_terms(target, output) | self.auxk_term(vectors, pre, flat_target, x_hat), output

    def coded(self, vectors: Tensor) -> tuple[Tensor | None, Any]:
        """Pre-activations, if a term of the loss may need them, and the code, both (…, batch, latent)."""
        if self.silence is None:
            return None, self.dictionary.encode(vectors)
        pre = self.dictionary.pre_activations(vectors)
        return pre, self.dictionary.activation(pre.clone())  # it may overwrite what it is given

    def auxk_term(self, vectors: Tensor, pre: Tensor | None, target: Tensor, x_hat: Tensor) -> dict[str, Tensor]:
        """AuxK, in training alone, so that validations before and after a death compare the same objective.

        Args:
            vectors: What the encoder reads, (…, batch, input).
            pre: Pre-activations (…, batch, latent), as `coded` answers them; None where codes are sparse, and those of
                the dead are computed here.
            target: What x̂ is compared with, (…, batch, output).
            x_hat: The reconstruction, (…, batch, output).
        """
        if self.silence is None or self.auxk_weight == 0 or not (self.training and self._any_dead):
            return {}
        activation, residual = self.dictionary.activation, target - x_hat
        dead = self.silence.dead(self.dead_after_samples)
        if pre is None:
            return {"auxk": auxk_of_dead(vectors, self.dictionary, dead, residual, self.k_aux, self.auxk_relu)}
        scores = activation.scores(pre) if isinstance(activation, CodeActivation) else pre
        rows = self.dictionary.decoder_vectors
        return {"auxk": auxk(scores, dead, residual, rows, self.k_aux, self.auxk_relu)}

    @property
    def loss_weights(self) -> Mapping[str, float | Tensor]:
        """Coefficients of the terms."""
        return {"auxk": self.auxk_weight} if self.auxk_weight > 0 else {}

    # --- which latents are dead --------------------------------------------------------------------------------

    @property
    def dead_after_samples(self) -> float:
        """Training samples without firing after which a latent is dead, as asked for or as the run's length has it."""
        longest = min(_LONGEST_SILENCE, self._samples_of_run / 10)
        return longest if self.dead_after is None else self.dead_after

    def _looks_dead(self) -> bool:
        """Whether a latent is dead, as far as that is known without waiting for the device."""
        assert self.silence is not None
        dead = self.silence.dead(self.dead_after_samples)
        return dead.device.type != "cpu" or bool(dead.any())

    @torch.no_grad()
    def set_latents(self, which: Tensor, encoder: Tensor, decoder: Tensor) -> None:
        """Give some latents new weights; they count as if they had just fired."""
        super().set_latents(which, encoder, decoder)
        if self.silence is not None:
            self.silence.revive(which)
            self._any_dead = self._looks_dead()

    def measures(self) -> dict[str, Tensor]:
        """`dead_latents`, where latents are counted; a mean over instances."""
        if self.silence is None:
            return {}
        return {"dead_latents": self.silence.dead(self.dead_after_samples).sum(-1, dtype=torch.float32).mean()}

    # --- starting, and moving on -------------------------------------------------------------------------------

    def configure_optimizers(self) -> Any:
        """Tell if no latent can be found dead in the run that was asked for; build the optimizer and its schedule.

        It is called for that run, and not for the shorter ones of a search.
        """
        trainer = trainer_of(self)
        if trainer and self.silence is not None and self.dead_after is not None:
            samples = RunLength.of(trainer).total_images
            if self.dead_after > samples:
                warnings.warn(
                    f"--model.dead_after is {self.dead_after:,} samples, more than the {samples:,.0f} of this run, so "
                    "that no latent will be found dead: lower it, or train longer",
                    Notice,
                    stacklevel=2,
                )
        return super().configure_optimizers()

    def on_fit_start(self) -> None:
        """Train in the mode of training, where AuxK is: a loaded model is in that of evaluation."""
        self.train()

    def on_train_start(self) -> None:
        """Measure the run, which may be a search's, and look who is dead in what was loaded."""
        super().on_train_start()
        if self.silence is not None:
            self._samples_of_run = RunLength.of(self.trainer).total_images
            self._any_dead = self._looks_dead()

    @property
    def advances(self) -> bool:
        """Whether there is a count that moves with each step, or a variant moves something of its own."""
        return self.silence is not None or type(self).advance is not RevivingAutoencoder.advance

    def observe(self, output: Any) -> None:
        """Gather which latents fire."""
        if self.silence is not None:
            self.silence.observe(output.z)

    def advance(self) -> None:
        """Count what the batches of a step told, all processes together."""
        if self.silence is not None:
            self.silence.advance(self._reduce)
            self._any_dead = self._looks_dead()

    def forget(self) -> None:
        """Drop what the batches of a step told that was skipped."""
        if self.silence is not None:
            self.silence.forget()


def _require_silent_latents(auxk_weight: float, activation: nn.Module) -> None:
    """Check that AuxK finds what it trains: pre-activations of latents that do not fire.

    Raises:
        ConfigError: No code of this activation is exactly zero, so that no latent is ever dead.
    """
    if not is_rectified(activation):
        raise ConfigError(
            f"--model.auxk_weight is {auxk_weight:g}, but AuxK needs pre-activations of latents that do not fire, and "
            f"a code by {type(activation).__name__} has none: leave the option out, or choose a code that is exactly "
            "zero there"
        )
