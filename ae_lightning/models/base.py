"""`Autoencoder`: the contract of a variant, and everything all variants share."""

import inspect
import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import torch
from lightning.pytorch.cli import LRSchedulerCallable, OptimizerCallable
from torch import Tensor, nn

from ae_lightning.analysis.samplers import Sampler
from ae_lightning.errors import ConfigError
from ae_lightning.losses.reconstruction import ReconstructionLossName, reconstruction_loss
from ae_lightning.models.identity import stamp_identity
from ae_lightning.training.arguments import refusing_arrays
from ae_lightning.training.batch import AutoencoderOutput, Batch, StepOutput, instances_first
from ae_lightning.training.checks import (
    require_clippable,
    require_finite_rate,
    require_trainable,
)
from ae_lightning.training.clipping import Clipping
from ae_lightning.training.constructor import outermost_constructor
from ae_lightning.training.epoch_means import EpochMeans
from ae_lightning.training.instances import Instances
from ae_lightning.training.learning_rate import SchedulerInterval, schedule_settings
from ae_lightning.training.population import require_apart
from ae_lightning.training.restore import write_back
from ae_lightning.training.sizes import Sizes
from ae_lightning.training.steps import Steps
from ae_lightning.training.trainer import continue_batches, trainer_of

Weight = TypeVar("Weight", bound=float | Tensor)


class Autoencoder(Sizes, Instances, Clipping, Steps, ABC):
    """Base of every variant: a variant writes `encode` and `decode`, the base does the rest.

    The training objective is Σ weight × term over `terms`; the total and each unweighted term are logged as
    `train/loss`, `train/<term>`, and likewise under `val/` and `test/`. Every logged loss is a mean per instance, and a
    term that some steps lack is a mean over those that had it. `measures` are logged beside them.

    Args:
        input_shape: Shape of one sample, such as (1, 28, 28). The command line takes it from the data.
        reconstruction_loss: mse, bce (data and output within [0, 1]) or mae, means over pixels and batch; mse_sum, the
            sum over pixels, mean over the batch; or fvu, the fraction of the batch's variance that is unexplained.
        optimizer: Builds the optimizer from the parameters.
        lr_scheduler: Builds a learning-rate schedule from the optimizer.
        lr_scheduler_interval: Whether it is stepped after each epoch or after each optimizer step, so that its lengths
            count epochs or steps.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        reconstruction_loss: ReconstructionLossName = "mse",
        optimizer: OptimizerCallable = lambda params: torch.optim.Adam(params, lr=1e-3, fused=True),
        lr_scheduler: LRSchedulerCallable | None = None,
        lr_scheduler_interval: SchedulerInterval = "epoch",
    ) -> None:
        super().__init__()
        with warnings.catch_warnings():  # a part that is a module gives checkpoints its settings, not itself
            warnings.filterwarnings("ignore", "Attribute '.*' is an instance of `nn.Module`")
            self.save_hyperparameters(frame=outermost_constructor(inspect.currentframe()), logger=False)
        for name in ("optimizer", "lr_scheduler"):
            if callable(self.hparams.get(name)):  # of a Python caller; Lightning would warn of it at every fit
                del self.hparams[name]
        if not hasattr(self, "target_shape"):  # which the command line records of variants that have no such argument
            self.hparams.pop("target_shape", None)
        self.input_shape = tuple(input_shape)
        self.output_shape = self.input_shape
        self.reconstruction_loss: ReconstructionLossName = reconstruction_loss
        self.build_optimizer: Callable[..., Any] = optimizer
        self.build_lr_scheduler: Callable[..., Any] | None = lr_scheduler
        self.lr_scheduler_interval: SchedulerInterval = lr_scheduler_interval
        self.images_seen = 0
        self._data_checked = False
        self._gathered_for = -1
        self._epoch_means = EpochMeans()
        self._sums_of_each = None
        self._compiled_terms: Callable[..., Any] | None = None
        self._rng_state: Tensor | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name in {"forward", "encode", "decode"} & vars(cls).keys():
            setattr(cls, name, refusing_arrays(vars(cls)[name]))

    #: Whether it learns from batches (x, y, target) alone, since what it produces is not what it reads.
    needs_targets: bool = False

    #: Whether `decode` gives samples in the data's units; where it does not, only `forward` does.
    decodes_to_data: bool = True

    # --- what a variant writes ---------------------------------------------------------------------------------

    @abstractmethod
    def encode(self, x: Tensor) -> Tensor:
        """Code of a batch: x (batch, *input_shape) to z (batch, …), or (instances, batch, …)."""

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """Reconstruction from codes: z to x̂, shaped as x (with leading instances where z has them)."""

    @property
    def output_range(self) -> tuple[float, float]:
        """Lowest and highest value that `decode` can produce; unbounded unless a variant says otherwise."""
        return -math.inf, math.inf

    @property
    def output_parts(self) -> Mapping[str, slice]:
        """Parts of a flat output, by name, whose errors `evaluate` tells beside those of the whole."""
        return {}

    @property
    def prior(self) -> Sampler | None:
        """What codes are drawn from to make new samples, such as a `StandardNormal`; None unless a variant has one."""
        return None

    def layer_outputs(self, x: Tensor, after_activation: bool = False) -> list[Tensor]:
        """What each hidden layer of the encoder gives, from the input on, the code not among them.

        A fully connected layer gives (batch, width), a convolutional one (batch, channels, height, width). A shallow
        encoder has none.

        Args:
            x: Samples (batch, *input_shape).
            after_activation: Whether to take each right after its activation, before batch normalization, dropout and
                pooling, and the code as the last; else hidden layers only, as the next layer reads them.
        """
        return [self.encode(x)] if after_activation else []

    def pair(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """What is encoded, x (batch, *input_shape), and what is to be produced, laid out as x̂; here x itself.

        Of a batch (x, y, target) it is the target.
        """
        return batch[0], self.as_target(batch[2] if len(batch) > 2 else batch[0])

    def as_read(self, x: Tensor) -> Tensor:
        """What the objective reads of samples x (batch, *input_shape) in evaluation: x itself, or a corrupted x.

        Pictures of reconstructions start from it, and show it beside x where it is another.
        """
        return x

    def terms(self, x: Tensor, target: Tensor) -> tuple[dict[str, Tensor], StepOutput]:
        """Forward pass of x (batch, *input_shape): the unweighted terms of the loss, and the output.

        Override it, instead of `loss_terms`, where a term needs more of the forward pass than x̂ and z. A term is a
        scalar, summed over instances, or (instances,), so that its weight may differ among them. In evaluation
        `best.ckpt` takes each instance at its own lowest loss if all terms of a population are (instances,); a scalar
        has it take them all at the lowest mean. `tells_apart` says when terms are better not summed.

        Args:
            x: What is encoded.
            target: What x̂ is compared with, laid out as x̂ or shared by all instances; see `pair`.
        """
        output = self(x)
        return self.loss_terms(target, output), output

    def loss_terms(self, target: Tensor, output: AutoencoderOutput) -> dict[str, Tensor]:
        """Unweighted terms of the loss by name; summed over instances or of each, mean over everything else."""
        error = reconstruction_loss(
            self.reconstruction_loss, output.x_hat, target, self.instances, each=self.tells_apart
        )
        return {"reconstruction": error}

    @property
    def loss_weights(self) -> Mapping[str, float | Tensor]:
        """Coefficients of the terms, (instances,) for a term of that shape; a term that is not named has weight 1."""
        return {}

    def measures(self) -> dict[str, Tensor]:
        """Scalars that tell of the model's state and are no loss, by name: a threshold, a number of dead latents.

        They are logged as `measures/<name>` with each row of training.
        """
        return {}

    def report_sections(self) -> Sequence[type[Any]]:
        """Sections that this variant adds to a report: subclasses of `ae_lightning.report.contributed.SectionMaker`.

        Import them in here, so that no training waits for what draws.
        """
        return ()

    def observe(self, output: Any) -> None:
        """Gather what a training batch tells; `advance` takes it up once the optimizer has stepped.

        `output` is what `terms` gave beside the losses, an `AutoencoderOutput` in nearly all variants.
        What a variant keeps beside its weights, such as a running mean, moves in these two and nowhere else.
        """

    def advance(self) -> None:
        """Move the state that moves once for each optimizer step, right after it and before callbacks look.

        It is not called where no step is taken: at batches whose gradients accumulate, and where a scaled loss in
        half precision overflowed.
        """

    def forget(self) -> None:
        """Drop what was gathered since the last optimizer step: the one that it was for was skipped."""

    @property
    def reads_corrupted(self) -> bool:
        """Whether the objective reads something else than samples: see `as_read`."""
        return type(self).as_read is not Autoencoder.as_read

    @property
    def advances(self) -> bool:
        """Whether there is anything that `advance` moves; a small model's step is not to pay for it otherwise."""
        return type(self).advance is not Autoencoder.advance

    @property
    def is_settled(self) -> bool:
        """Whether losses of now are of the same objective as those at the run's end, so that the two can be compared.

        `best.ckpt` is chosen among losses of a settled model; all processes have to answer the same.
        """
        return True

    @property
    def untraceable(self) -> str:
        """Why the loss cannot be compiled; empty where it can."""
        return ""

    def warmed_up(self, weight: Weight, steps: int) -> Weight:
        """A coefficient that rises linearly from 0 over so many optimizer steps; where no step is taken it is whole.

        What is to be a step is computed with gradients. The model's mode would not tell, since one that was loaded for
        evaluation is trained in that mode; nor would the trainer's, which is that of training when callbacks look at
        the untrained model.
        """
        trainer = trainer_of(self) if steps > 0 else None
        if trainer is None or not trainer.training or not torch.is_grad_enabled():
            return weight
        return weight * min(1.0, trainer.global_step / steps)  # type: ignore[return-value]

    def trained_parameters(self) -> Iterable[nn.Parameter]:
        """Parameters that the optimizer updates (default: all)."""
        return self.parameters()

    def snapshot(self) -> dict[str, Tensor]:
        """What makes up the model at a moment of training: every parameter and buffer by name, unless overridden."""
        return {name: value.detach() for name, value in self.state_dict().items()}

    def restore(self, snapshot: Mapping[str, Tensor]) -> None:
        """Put the model back into the state of a snapshot; ValueError, and nothing written, if it does not fit."""
        write_back(snapshot, self.snapshot(), type(self).__name__)

    # --- what the base owns ------------------------------------------------------------------------------------

    def forward(self, x: Tensor) -> AutoencoderOutput:
        """Encode and decode x (batch, *input_shape)."""
        z = self.encode(x)
        return AutoencoderOutput(self.decode(z), z)

    def as_target(self, x: Tensor) -> Tensor:
        """Samples as they are compared with x̂: (batch, *output_shape), shared by all instances, as they are.

        Samples of each instance's own, (batch, instances, *output_shape), become (instances, batch, *output_shape).
        """
        return instances_first(x, len(self.output_shape))

    def configure_optimizers(self) -> Any:
        """Build the injected optimizer, and the scheduler if there is one.

        Raises:
            ConfigError: The optimizer does not take its settings, such as a negative learning rate.
        """
        try:
            optimizer = self.build_optimizer(self.trained_parameters())
        except (TypeError, ValueError) as error:
            raise ConfigError(f"--model.optimizer cannot be built with these settings: {error}") from error
        require_finite_rate(optimizer)
        if trainer := trainer_of(self):
            require_trainable(trainer.precision)
            require_clippable(optimizer, trainer.precision, trainer.gradient_clip_val)
            require_apart(self.instances, optimizer, None, trainer.callbacks)  # type: ignore[attr-defined]
        if self.advances:
            optimizer.register_step_post_hook(self._after_step)
        if self.build_lr_scheduler is None:
            return optimizer
        scheduler = self.build_lr_scheduler(optimizer)
        require_apart(self.instances, optimizer, scheduler)
        return {"optimizer": optimizer, "lr_scheduler": schedule_settings(scheduler, self.lr_scheduler_interval)}

    def on_train_start(self) -> None:
        """Continue the batches and the random numbers of an interrupted run; forget what another run gathered."""
        continue_batches(self.trainer)
        self.forget()
        self._gathered_for = -1
        if self._rng_state is not None:
            torch.set_rng_state(self._rng_state)
            self._rng_state = None

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add what a resumed run needs: the class, the means of the epoch so far, the random numbers' state."""
        stamp_identity(self, checkpoint)
        checkpoint["autoencoder"] |= {
            "images_seen": self.images_seen,
            "epoch_means": self._epoch_means.state_dict(),
            "rng_state": torch.get_rng_state(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take back what `on_save_checkpoint` added; the random state is put in force when training starts."""
        trainer = trainer_of(self)
        if trainer is not None and trainer.precision == "64-true":
            self.double()  # Lightning would do so only after the weights were read, and rounded to float32
        saved = checkpoint.get("autoencoder", {})
        self.images_seen = saved.get("images_seen", 0)
        self._epoch_means.load_state_dict(saved.get("epoch_means", {}))
        self._rng_state = saved.get("rng_state")

    # --- details -----------------------------------------------------------------------------------------------

    def _after_step(self, optimizer: Any, *args: Any) -> None:
        # A fused optimizer is called, and does nothing, where the scaled loss in half precision has overflowed.
        overflowed = getattr(optimizer, "found_inf", None)
        if overflowed is None or not bool(overflowed):
            self.advance()
            self._gathered_for = -1
