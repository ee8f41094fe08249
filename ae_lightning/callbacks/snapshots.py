"""Weight snapshots: the encoder's and decoder's weights and biases at many moments of a run."""

from pathlib import Path
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from ae_lightning.callbacks.schedule import Clock, Schedule, moment_of
from ae_lightning.models.base import Autoencoder
from ae_lightning.run.snapshots import SnapshotWriter, snapshot_folder


class WeightSnapshots(Callback):
    """Write `snapshots/step_<n>.safetensors` in the run's folder on a schedule.

    A file holds what the model's `snapshot()` gives: for a shallow autoencoder `encoder_vectors` and
    `decoder_vectors`, both (…, latent, input), `encoder_bias` and `decoder_bias`; for others all parameters and
    buffers by name. `index.json` lists the snapshots with their step, epoch and images seen. Each file appears whole
    or not at all, so a run can be read while it goes on.

    Args:
        schedule: When to take them; by default before the first step and after the last.
    """

    def __init__(self, schedule: Schedule = Schedule()) -> None:  # noqa: B008 - it is frozen
        self.clock = Clock(schedule)
        self._writer: SnapshotWriter | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the first state, or carry on after the last snapshot of an interrupted run."""
        first = self.clock.start(trainer)
        self._writer = None
        folder = trainer.log_dir
        if folder is None or trainer.fast_dev_run:  # type: ignore[attr-defined]
            return
        self._writer = SnapshotWriter(snapshot_folder(Path(folder)), trainer.global_step)
        if trainer.is_global_zero:
            self._writer.remove_later()
        if first:
            self._take(trainer, pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Take a snapshot if one is due."""
        if self.clock.ticks(trainer):
            self._take(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take the last state, unless the schedule had it already."""
        taken = self._writer is not None and self._writer.last_step == trainer.global_step
        if self.clock.schedule.last and not taken:
            self._take(trainer, pl_module)

    def _take(self, trainer: Trainer, module: LightningModule) -> None:
        if self._writer is not None and trainer.is_global_zero and isinstance(module, Autoencoder):
            self._writer.write(moment_of(trainer, module), module.snapshot())
