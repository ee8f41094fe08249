"""A run that stops in the middle of an epoch, by Ctrl-C or at `max_steps`, leaves a `last.ckpt` of that very step."""

import signal
import threading
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint


class SaveOnStop(Checkpoint):
    """Save `checkpoints/last.ckpt` where a run stops in the middle of an epoch, so that it continues bit for bit.

    Python raises KeyboardInterrupt wherever it happens to be, also between the updates of two parameters. Here
    the first Ctrl-C only leaves a mark; the checkpoint is written once the step is complete and all other
    callbacks are done with it, and training stops before the next step. A second Ctrl-C stops at once.

    Lightning's ModelCheckpoint writes when an epoch ends, and so misses a run that `max_steps` ends before that.

    Being a `Checkpoint` puts it behind all other callbacks.
    """

    def __init__(self) -> None:
        self.saved: Path | None = None
        self._interrupted = False
        self._previous: Any = None
        self._last_step = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over Ctrl-C; possible in the main thread only."""
        self.saved, self._interrupted, self._last_step = None, False, trainer.global_step
        if threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._interrupt)

    def on_train_batch_start(self, trainer: Trainer, *args: Any) -> None:
        """Stop, now that everything about the saved step has been logged."""
        if self._interrupted and self.saved is not None:
            raise KeyboardInterrupt

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Save if the run stops here; after an epoch's last batch validation comes first, and then a new epoch."""
        stepped = trainer.global_step != self._last_step  # gradients that still accumulate would be lost
        self._last_step = trainer.global_step
        stops = self._interrupted or trainer.global_step == trainer.max_steps
        if stepped and stops and not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch and trainer.log_dir:
            self.saved = Path(trainer.log_dir) / "checkpoints" / "last.ckpt"
            trainer.save_checkpoint(self.saved)

    def teardown(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Give Ctrl-C back."""
        self._give_back()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give Ctrl-C back."""
        self._give_back()

    def _interrupt(self, *args: Any) -> None:
        if self._interrupted:
            raise KeyboardInterrupt
        self._interrupted = True

    def _give_back(self) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            self._previous = None
