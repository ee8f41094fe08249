"""Training speed."""

import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from ae_lightning.callbacks.observing import log_now, logs_at


class Throughput(Callback):
    """Log `speed/images_per_s` every `log_every_n_steps` steps, over the steps since the last time.

    Time spent in validation and in other callbacks counts, so it is the speed the user sees.
    """

    def __init__(self) -> None:
        self._since = 0.0
        self._images = 0
        self._logged_step = 0

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._mark(trainer, pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Log the speed where a row is due."""
        step = trainer.global_step
        if logs_at(trainer, step) and step != self._logged_step:
            images = getattr(pl_module, "images_seen", 0) - self._images
            log_now(trainer, {"speed/images_per_s": images / (time.perf_counter() - self._since)})
            self._mark(trainer, pl_module)

    def _mark(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._since = time.perf_counter()
        self._images = getattr(pl_module, "images_seen", 0)
        self._logged_step = trainer.global_step
