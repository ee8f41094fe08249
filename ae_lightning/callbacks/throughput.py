"""Training speed, and how long training took."""

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from ae_lightning.callbacks.observing import log_now
from ae_lightning.training.rows import is_due_after


class Throughput(Callback):
    """Log `speed/images_per_s` every `log_every_n_steps` steps, and `speed/train_seconds` when training ends.

    The speed is that of the steps since the last time; the seconds are those of the whole training, also where it was
    interrupted and continued. Time spent in validation and in other callbacks counts, so both are what the user sees.

    Lightning's own `Timer` counts seconds too, but in the middle of a second fit it gives a negative number.
    """

    def __init__(self) -> None:
        self._since = 0.0
        self._images = 0
        self._logged_step = 0
        self._started: float | None = None
        self._seconds = 0.0  # of training before it was started this time

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Forget an earlier fit; a checkpoint's seconds are loaded after this."""
        self._started, self._seconds = None, 0.0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._mark(trainer, pl_module)
        self._started = self._since

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Log the speed where a row is due."""
        step = trainer.global_step
        if is_due_after(step, trainer) and step != self._logged_step:
            images = getattr(pl_module, "images_seen", 0) - self._images
            log_now(trainer, {"speed/images_per_s": images / (time.perf_counter() - self._since)})
            self._mark(trainer, pl_module)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock and log what it shows; a run that is interrupted does not come here."""
        self._seconds, self._started = self._elapsed(), None
        log_now(trainer, {"speed/train_seconds": self._seconds})

    def state_dict(self) -> dict[str, Any]:
        """Seconds of training up to now."""
        return {"seconds": self._elapsed()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take the seconds of the interrupted run."""
        self._seconds = float(state_dict["seconds"])

    def _elapsed(self) -> float:
        return self._seconds + (0.0 if self._started is None else time.perf_counter() - self._started)

    def _mark(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._since = time.perf_counter()
        self._images = getattr(pl_module, "images_seen", 0)
        self._logged_step = trainer.global_step
