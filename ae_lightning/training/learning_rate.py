"""The learning rate of a fit as an attribute, under the name by which Lightning's `LearningRateFinder` looks for it."""

import math

from lightning.pytorch import LightningModule

from ae_lightning.training.trainer import trainer_of


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
