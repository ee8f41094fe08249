"""The learning rate of a fit: as an attribute, by the name that `LearningRateFinder` looks for, and its schedule."""

import math
from typing import Any, Literal

from lightning.pytorch import LightningModule
from torch.optim.lr_scheduler import ReduceLROnPlateau

from ae_lightning.errors import ConfigError
from ae_lightning.training.trainer import trainer_of

SchedulerInterval = Literal["epoch", "step"]
"""Whether a learning-rate schedule goes on after each epoch or after each optimizer step."""


class LearningRate(LightningModule):
    """A module whose `learning_rate` is that of the trainer's optimizer, which is built with a rate of its own."""

    @property
    def learning_rate(self) -> float:
        """The present rate of the optimizer's first group; NaN where there is no optimizer, as outside a fit."""
        trainer = trainer_of(self)
        optimizers = trainer.optimizers if trainer else []
        return float(optimizers[0].param_groups[0].get("lr", math.nan)) if optimizers else math.nan

    @learning_rate.setter
    def learning_rate(self, rate: float) -> None:
        for optimizer in self.trainer.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = group["initial_lr"] = rate
        for config in self.trainer.lr_scheduler_configs:  # which would go back to the rate that it began with
            if hasattr(config.scheduler, "base_lrs"):
                config.scheduler.base_lrs = [rate] * len(config.scheduler.base_lrs)

    def lr_scheduler_step(self, scheduler: Any, metric: Any | None) -> None:
        """Step a schedule as Lightning does.

        Raises:
            ConfigError: It is shorter than the run.
        """
        try:
            super().lr_scheduler_step(scheduler, metric)
        except ValueError as error:
            raise ConfigError(
                f"--model.lr_scheduler ends before the run does, at step {self.trainer.global_step} of epoch "
                f"{self.trainer.current_epoch} ({error}): make it longer, or stop the run with --trainer.max_epochs or "
                "--trainer.max_steps"
            ) from error


def schedule_settings(scheduler: Any, interval: SchedulerInterval) -> dict[str, Any]:
    """A schedule as Lightning takes it from `configure_optimizers`; a plateau is one of `val/loss` by default."""
    settings = {"scheduler": scheduler, "interval": interval}
    if isinstance(scheduler, ReduceLROnPlateau):
        settings["monitor"] = getattr(scheduler, "monitor", "val/loss")
        settings["strict"] = interval == "epoch"  # there are steps before the first validation
    return settings
