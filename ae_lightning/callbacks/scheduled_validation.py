"""Validation errors at moments of a schedule, such as those of the snapshots."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from ae_lightning.callbacks.first_process import on_first_process
from ae_lightning.callbacks.initial_validation import InitialValidation
from ae_lightning.callbacks.observing import log_now, validation_losses
from ae_lightning.callbacks.schedule import Clock, Schedule
from ae_lightning.callbacks.snapshots import WeightSnapshots
from ae_lightning.data.base import AutoencoderDataModule
from ae_lightning.errors import ConfigError
from ae_lightning.models.base import Autoencoder
from ae_lightning.upstream import private


class ScheduledValidation(Callback):
    """Log `val/loss` and its terms on a schedule, so that a curve has a point for each snapshot.

    Where Lightning validates anyway, as at the end of an epoch, its row is the moment's. The other rows are for reading
    only: `best.ckpt`, early stopping and a schedule that waits for a plateau go by Lightning's own validations, as
    without this callback, and training goes on bit for bit as without it.

    A moment costs a forward pass over the validation set, or over as many of its batches as
    `--trainer.limit_val_batches` says; of several processes the first computes it. On 6,000 images of MNIST it costs
    as much as five to seven training steps of 256.

    Args:
        schedule: When to validate; by default whenever `WeightSnapshots` takes a snapshot.
    """

    def __init__(self, schedule: Schedule | None = None) -> None:
        self.schedule = schedule
        self._clock = Clock(Schedule())
        self._validated_step = -1

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Validate the untrained model, unless `InitialValidation` does.

        Raises:
            ConfigError: There is no schedule, and no snapshots either.
        """
        self._clock = Clock(self.schedule or _schedule_of_snapshots(trainer))
        self._validated_step = trainer.global_step
        others = any(isinstance(callback, InitialValidation) for callback in trainer.callbacks)  # type: ignore[attr-defined]
        if self._clock.start(trainer) and not others:
            self._validate(trainer, pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Validate if it is time, and Lightning is not about to."""
        if self._clock.ticks(trainer) and not _validates_next(trainer):
            self._validate(trainer, pl_module)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note for which moment there is a row."""
        self._validated_step = trainer.global_step

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Validate the last state, unless that was done."""
        if self._clock.schedule.last and self._validated_step != trainer.global_step:
            self._validate(trainer, pl_module)

    def _validate(self, trainer: Trainer, module: LightningModule) -> None:
        data = trainer.datamodule  # type: ignore[attr-defined]
        self._validated_step = trainer.global_step
        if trainer.limit_val_batches and isinstance(data, AutoencoderDataModule) and isinstance(module, Autoencoder):
            on_first_process(trainer, lambda: log_now(trainer, validation_losses(trainer, module, data)))


def _schedule_of_snapshots(trainer: Trainer) -> Schedule:
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        if isinstance(callback, WeightSnapshots):
            return callback.clock.schedule
    raise ConfigError("ScheduledValidation has no snapshots to go by: give it a schedule, or add WeightSnapshots")


def _validates_next(trainer: Trainer) -> bool:
    """Whether Lightning validates after the batch that ends now; where it cannot be asked, it does after an epoch's."""
    due = private(trainer.fit_loop.epoch_loop, "_should_check_val_fx", None)
    return trainer.is_last_batch if due is None else due(private(trainer.fit_loop, "_data_fetcher", None))
