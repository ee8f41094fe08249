"""A run that stops in the middle of an epoch, whatever stops it, leaves a `last.ckpt` of that very step."""

import signal
import threading
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from ae_lightning.errors import Stopped
from ae_lightning.upstream import private

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class SaveOnStop(Checkpoint):
    """Save `checkpoints/last.ckpt` where a run stops in the middle of an epoch, so that it continues bit for bit.

    Python raises KeyboardInterrupt wherever it happens to be, also between the updates of two parameters. Here
    the first Ctrl-C or SIGTERM only leaves a mark; the checkpoint is written once the step is complete and all other
    callbacks are done with it, and training stops before the next step, by `Stopped`. A second one stops at once.
    Of several processes all stop after the same step, whichever got the signal.

    Lightning's ModelCheckpoint writes when an epoch ends, and so misses a run that `max_steps`, `max_time` or another
    callback ends before that; its answer to SIGTERM is to stop without a checkpoint of the last step.

    Being a `Checkpoint` puts it behind all other callbacks.
    """

    def __init__(self) -> None:
        self.saved: Path | None = None
        self._received = 0  # the signal that this process got
        self._agreed = 0  # the one that all processes stop for
        self._previous: dict[int, Any] = {}
        self._last_step = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Take over the signals; possible in the main thread only."""
        self.saved, self._received, self._agreed, self._last_step = None, 0, 0, trainer.global_step
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._receive) for number in _SIGNALS}

    def on_train_batch_start(self, trainer: Trainer, *args: Any) -> None:
        """Stop, now that everything about the saved step has been logged."""
        if self._agreed and self.saved is not None:
            raise Stopped(self._agreed)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Save if the run stops here; after an epoch's last batch validation comes first, and then a new epoch."""
        stepped = trainer.global_step != self._last_step  # gradients that still accumulate would be lost
        self._last_step = trainer.global_step
        self._agreed = self._greatest_received(trainer)
        stops = self._agreed or _ends_by_plan(trainer)
        if stepped and stops and not trainer.fit_loop.epoch_loop.batch_progress.is_last_batch and trainer.log_dir:
            self.saved = Path(trainer.log_dir) / "checkpoints" / "last.ckpt"
            trainer.save_checkpoint(self.saved)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Give the signals back, before Lightning gives back those that it has taken over itself."""
        self._give_back()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Give the signals back."""
        self._give_back()

    def _receive(self, number: int, *args: Any) -> None:
        if self._received:
            raise Stopped(number)
        self._received = number

    def _greatest_received(self, trainer: Trainer) -> int:
        """The signal that any of the processes got. A save that only some of them begin would never end."""
        if trainer.world_size == 1:
            return self._received
        received = torch.tensor(self._received, device=trainer.strategy.root_device)
        torch.distributed.all_reduce(received, torch.distributed.ReduceOp.MAX)
        return int(received)

    def _give_back(self) -> None:
        while self._previous:
            signal.signal(*self._previous.popitem())


def _ends_by_plan(trainer: Trainer) -> bool:
    """Whether this step is the last by `max_steps`, or by what has set `should_stop`, as `max_time` does."""
    asked = trainer.should_stop and private(trainer.fit_loop, "_can_stop_early", True)
    return (trainer.global_step == trainer.max_steps or asked) and not trainer.fast_dev_run  # type: ignore[attr-defined]
