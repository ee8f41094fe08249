"""Resampling of dead latents: those that never fire get new weights, from which they can learn again."""

import math
import warnings
from pathlib import Path
from typing import Any, Literal

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import Strategy
from torch import Tensor

from ae_lightning.callbacks.decoder_norm import refuse_split_weights
from ae_lightning.callbacks.new_codes import new_codes, samples_to_draw_from
from ae_lightning.callbacks.new_latents import (
    NewWeights,
    forget_moments,
    random_weights,
    weights_by_loss,
)
from ae_lightning.callbacks.observing import log_now, observing
from ae_lightning.callbacks.resampled import Resampled, resampled
from ae_lightning.data.base import AutoencoderDataModule
from ae_lightning.data.loader import seeded_generator
from ae_lightning.errors import CheckpointError, ConfigError, Notice
from ae_lightning.models.shallow import ShallowAutoencoder
from ae_lightning.models.vqvae import VQVAE
from ae_lightning.nn.sparse_code import SparseCode
from ae_lightning.run.tables import append_resampled, drop_resampled_later_than
from ae_lightning.training.run_length import RunLength

_DRAWS = 1  # so that no seed of a model, 0 included, draws what the examples are drawn by
_SCALES = {"simple": 0.5, "anthropic": 0.2}


class ResampleDeadLatents(Callback):
    """Give new weights, every so many optimizer steps, to the latents that did not fire once in the steps before.

    A latent fires where its value is above zero. It is dead if it did so for no sample, on no process, in the last
    `window` steps; a model that counts its silent latents itself, as for AuxK, is asked, and counts anew for those that
    are resampled. Its decoder row, its encoder row and its encoder bias are set anew, each instance for itself:

    - `simple`: the decoder row is a random direction of norm 1, the encoder row `scale` times that.
    - `anthropic`: inputs are drawn from the training set with probability proportional to the square of their squared
      error, no input twice where there are enough. The decoder row is the direction from the decoder's bias to the
      input, of norm 1; the encoder row is that times `scale` times the mean norm of the living latents' encoder rows
      (1 where none lives).

    Of a `Transcoder` the encoder row points from the mean of the inputs to the drawn one, and the decoder row to what
    is missing of its target; `simple` draws a direction for each.

    Of a `VQVAE` the latents are its codes, which fire where they are chosen. Vectors of training samples are put in
    the place of those that were not: drawn at random (`simple`), or with probability proportional to the square of
    their squared distance from their code (`anthropic`). `resampling.csv` has their codebook as `instance`.

    The encoder bias becomes 0, and a threshold, a gate or the like what it started with; the optimizer forgets its
    moments of these weights and no others. Inputs are in the units that the encoder reads. With tied weights
    the row of both is the decoder's, of norm 1, or with `unit_norm` the encoder's. List it after `DecoderNorm`.

    `resampling/latents` is how many, all instances together; `resampling.csv` in the run's folder says which. What is
    drawn follows from (`seed`, step) and the weights, and leaves the global random numbers alone; a run that is
    interrupted in the middle of a window goes on as one that was not. With `--model.seed` it follows from that seed
    too, and each instance of a population draws what it would alone.

    Args:
        every: Optimizer steps between two moments.
        window: Steps before each moment in which firing is counted, at most `every`.
        method: How new weights are chosen.
        scale: Length of the new encoder rows, as said above; null is 0.5 for simple and 0.2 for anthropic.
        examples: Training samples from which anthropic draws, and of codes simple too.
        seed: Seed of the draws.
        stop_after: Last step at which to resample. With null it is `every` steps before the planned end of the run, so
            that the last ones have time to learn; a run without a planned end goes on forever.
        when: Whether moments come after the steps `every`, 2 · `every`, … or before them, when one step less is done;
            the workshop resamples before them, and `stop_after` at the run's last step makes that the last moment.
        keep_moments: Whether the optimizer keeps its moments of the weights that are set anew.
        with_replacement: Whether anthropic may draw an input twice.

    Raises:
        ConfigError: A number is out of range, or the window longer than the interval.

    Source: Bricken et al. (2023), "Towards Monosemanticity", appendix "Neuron resampling", for anthropic.
    """

    _window_start: int | None
    _counts: Tensor | None
    _seen: int | None
    _last_step: int
    _last_moment: float
    _strategy: Strategy | None
    _folder: Path | None

    def __init__(
        self,
        every: int = 2500,
        window: int = 500,
        method: Literal["simple", "anthropic"] = "anthropic",
        scale: float | None = None,
        examples: int = 8192,
        seed: int = 0,
        stop_after: int | None = None,
        when: Literal["after", "before"] = "after",
        keep_moments: bool = False,
        with_replacement: bool = False,
    ) -> None:
        for name, number in (("every", every), ("window", window), ("examples", examples), ("stop_after", stop_after)):
            if number is not None and number < 1:
                raise ConfigError(f"ResampleDeadLatents: {name} is {number}; it must be at least 1")
        if window > every:
            raise ConfigError(
                f"ResampleDeadLatents: a window of {window} steps is longer than the {every} steps between two "
                "moments: lower window or raise every"
            )
        if method not in _SCALES:
            raise ConfigError(f"ResampleDeadLatents: method is {method!r}; it can be simple or anthropic")
        if when not in ("after", "before"):
            raise ConfigError(f"ResampleDeadLatents: when is {when!r}; it can be after or before")
        if scale is not None and not 0 < scale < math.inf:
            raise ConfigError(f"ResampleDeadLatents: scale is {scale:g}; it must be above 0 and finite")
        if seed < 0:
            raise ConfigError(f"ResampleDeadLatents: seed is {seed}; it must not be negative")
        self.every = every
        self.window = window
        self.method = method
        self.scale = scale
        self.examples = examples
        self.seed = seed
        self.stop_after = stop_after
        self.when = when
        self.keep_moments = keep_moments
        self.with_replacement = with_replacement
        self._forget()

    @property
    def state_key(self) -> str:
        """Counts are of use to the same windows only."""
        settings: dict[str, Any] = {"every": self.every, "window": self.window}
        if self.when != "after":
            settings["when"] = self.when
        return f"{type(self).__qualname__}{settings}"

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse models whose latents cannot be resampled; forget an earlier fit (a checkpoint is loaded later)."""
        if stage != "fit":
            return
        self._forget()
        refuse_split_weights(trainer, "ResampleDeadLatents")
        module = resampled(pl_module)
        data, of_codes = trainer.datamodule, isinstance(module, VQVAE)  # type: ignore[attr-defined]
        if (self.method == "anthropic" or of_codes) and not isinstance(data, AutoencoderDataModule):
            other = "" if of_codes else ", or choose the method simple"
            raise ConfigError(
                "ResampleDeadLatents draws training samples from a data module of ours, but the fit has none: give it "
                f"one{other}"
            )
        if isinstance(module, VQVAE):
            if self.scale is not None:
                raise ConfigError("ResampleDeadLatents: scale is of encoder rows, which codes have not: leave it out")
            module.require_vectors(min(self.examples, len(data.train_set)), "ResampleDeadLatents")

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Find the last moment and the table; take up the counts of an interrupted run."""
        self._last_step = trainer.global_step
        self._strategy = trainer.strategy
        self._last_moment = self._find_last_moment(trainer)
        assert isinstance(pl_module, Resampled)
        self._begin_window(pl_module)
        if self._counts is not None:
            # Each process takes the sum over all: whether it is zero is all that is asked of it.
            self._counts = self._counts.to(pl_module.device)
        folder = trainer.log_dir  # to be asked on all processes at once
        if folder is not None and trainer.is_global_zero and not trainer.fast_dev_run:  # type: ignore[attr-defined]
            self._folder = Path(folder)
            drop_resampled_later_than(self._folder, trainer.global_step)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *args: Any) -> None:
        """Count, in a window; at its end, resample."""
        step = trainer.global_step
        stepped = step != self._last_step
        assert isinstance(pl_module, Resampled)
        if pl_module.silence is None:
            # A batch whose gradients accumulate belongs to the step to come.
            self._count(outputs["z"], step if stepped else step + 1)
        self._last_step = step
        if not stepped:
            return
        if (step + self._lead) % self.every == 0:
            dead = self._dead(pl_module)
            if dead is not None:  # a whole window was seen
                self._resample(trainer, pl_module, dead)
            self._window_start, self._counts, self._seen = None, None, None
        self._begin_window(pl_module)

    def state_dict(self) -> dict[str, Any]:
        """The counts of the present window, all processes together, and the step that it began with.

        Where the model counts, it is the number of samples that it had seen before that step.
        """
        counts = None if self._counts is None else self._sum().cpu()
        state: dict[str, Any] = {"window_start": self._window_start, "counts": counts}
        return state if self._seen is None else state | {"seen": self._seen}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the counts of the interrupted run."""
        start, counts, seen = state_dict["window_start"], state_dict["counts"], state_dict.get("seen")
        if not all(number is None or isinstance(number, int) for number in (start, seen)) or not (
            counts is None or isinstance(counts, Tensor)
        ):
            raise CheckpointError("the checkpoint is damaged: what ResampleDeadLatents has counted is no tensor")
        self._window_start, self._counts, self._seen = start, counts, seen

    # --- counting ------------------------------------------------------------------------------------------------

    def _forget(self) -> None:
        self._window_start, self._counts, self._seen = None, None, None
        self._last_step, self._last_moment = 0, math.inf
        self._strategy, self._folder = None, None

    @property
    def _lead(self) -> int:
        """Steps by which a moment comes before a multiple of `every` is done."""
        return int(self.when == "before")

    def _find_last_moment(self, trainer: Trainer) -> float:
        """Number of completed steps after which there are no more moments."""
        total = RunLength.of(trainer).total_steps
        last = total - self.every if self.stop_after is None else self.stop_after
        if last < self.every and trainer.is_global_zero:
            latest = f", and none may come after step {last:g}" if last > 0 else ""
            warnings.warn(
                f"ResampleDeadLatents does nothing in this run of {total:g} steps: its first moment is step "
                f"{self.every}{latest}; lower every, or train longer",
                Notice,
                stacklevel=2,
            )
        return last - self._lead

    def _first_of_window(self, step: int) -> int | None:
        """The first step of the window that a step lies in; None where it lies in none, or no moment follows."""
        end = math.ceil((step + self._lead) / self.every) * self.every - self._lead
        start = max(1, end - self.window + 1)
        return start if start <= step and end <= self._last_moment else None

    def _begin_window(self, module: Resampled) -> None:
        """Begin to count anew, if a window begins with the step to come."""
        step = self._last_step + 1
        if self._first_of_window(step) == step and self._window_start != step:
            self._window_start, self._counts = step, None
            self._seen = None if module.silence is None else int(module.silence.seen)

    def _count(self, z: Tensor | SparseCode, step: int) -> None:
        """Add how often each latent fires in z (…, batch, latent) to the counts, if the step lies in a window."""
        start = self._first_of_window(step)
        if start is None or self._window_start != start:  # the run was taken up here without the steps before
            return
        if isinstance(z, SparseCode):
            fired = z.places.over_batch((z.values > 0).float())
        else:  # ones and zeros in z's own type are summed several times as fast as booleans
            fired = torch.gt(z, 0, out=torch.empty_like(z)).sum(-2, dtype=torch.float32)
        self._counts = fired if self._counts is None else self._counts.add_(fired)

    def _dead(self, module: Resampled) -> Tensor | None:
        """Latents (…, latent) that did not fire in the window; None if not all of it was seen."""
        if module.silence is not None:
            return None if self._seen is None else module.silence.silent_since(self._seen)
        return None if self._counts is None else self._sum() == 0

    def _sum(self) -> Tensor:
        assert self._counts is not None
        counts = self._counts.clone()  # it is summed in place
        return counts if self._strategy is None else torch.as_tensor(self._strategy.reduce(counts, reduce_op="sum"))

    # --- resampling ----------------------------------------------------------------------------------------------

    def _resample(self, trainer: Trainer, module: Resampled, dead: Tensor) -> None:
        many = int(dead.sum())
        if many:
            # Only one process decides: rounding may differ among devices, and a draw turns on a hair.
            new: Any = self._drawn(trainer, module, dead) if trainer.is_global_zero else None
            module.set_latents(dead, *trainer.strategy.broadcast(new))
            if not self.keep_moments:
                forget_moments(trainer.optimizers, module.latent_axes, dead)
            if self._folder is not None:
                append_resampled(self._folder, trainer.global_step, dead)
        log_now(trainer, {"resampling/latents": float(many)})

    def _drawn(self, trainer: Trainer, module: Resampled, dead: Tensor) -> tuple[Tensor, ...]:
        if isinstance(module, VQVAE):
            return (self._new_codes(trainer, module, dead),)
        return self._new_weights(trainer, module, dead)

    def _new_codes(self, trainer: Trainer, module: VQVAE, unused: Tensor) -> Tensor:
        generator = seeded_generator(self.seed, trainer.global_step)
        count = samples_to_draw_from(module, self.examples)
        x, _ = trainer.datamodule.example_pairs(count, generator)  # type: ignore[attr-defined]
        by_loss = self.method == "anthropic"
        with observing(trainer, module):
            return new_codes(module, x, unused, generator, by_loss, self.with_replacement)

    def _new_weights(self, trainer: Trainer, module: ShallowAutoencoder, dead: Tensor) -> NewWeights:
        scale = _SCALES[self.method] if self.scale is None else self.scale
        step, seeds = trainer.global_step, module.dictionary.seeds
        generator = seeded_generator(self.seed, step)
        each = [generator] if seeds is None else [seeded_generator(self.seed, step, seed, _DRAWS) for seed in seeds]
        if self.method == "simple":
            return random_weights(module, dead, scale, each)
        examples = trainer.datamodule.example_pairs(self.examples, generator)  # type: ignore[attr-defined]
        with observing(trainer, module):
            return weights_by_loss(module, examples, dead, scale, each, self.with_replacement)
