"""How long a run is, in optimizer steps."""

import math
from dataclasses import dataclass

from lightning.pytorch import Trainer


@dataclass(frozen=True)
class RunLength:
    """How long a run is, in the three units a schedule can be given in.

    Args:
        total_steps: Optimizer steps of the whole run; infinite where only time or early stopping ends it.
        steps_per_epoch: Optimizer steps of one epoch.
        images_per_step: Images per optimizer step: batch × accumulated batches × processes.
    """

    total_steps: float
    steps_per_epoch: float
    images_per_step: int

    @property
    def total_images(self) -> float:
        """Images of the whole run, each as often as it is seen; infinite where its steps are."""
        return self.total_steps * self.images_per_step

    @classmethod
    def of(cls, trainer: Trainer) -> "RunLength":
        """Measure the run that `trainer` is about to start, or is in.

        Data loaders that are not set up yet, as when optimizers are built, are so first.
        """
        if trainer.train_dataloader is None:
            trainer.fit_loop.setup_data()
        batches = trainer.num_training_batches
        per_epoch = math.ceil(batches / trainer.accumulate_grad_batches) if math.isfinite(batches) else math.inf
        batch_size = getattr(trainer.train_dataloader, "batch_size", None) or 1
        images = batch_size * trainer.accumulate_grad_batches * trainer.world_size
        limits = [float(trainer.max_steps)] if trainer.max_steps >= 0 else []
        if trainer.max_epochs is not None and trainer.max_epochs >= 0:
            limits.append(trainer.max_epochs * per_epoch)
        return cls(min(limits, default=math.inf), per_epoch, images)
