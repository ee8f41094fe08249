"""Rows of metrics: when one is due, which number it has, and how one in the middle of an epoch is logged."""

from collections.abc import Mapping

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from ae_lightning.training.learning_rate import LearningRate


def is_due_after(steps: int, trainer: Trainer) -> bool:
    """Whether `log_every_n_steps` asks for a row after so many optimizer steps."""
    every: int = trainer.log_every_n_steps  # type: ignore[attr-defined]
    return every > 0 and steps % every == 0


class NumberedRows(LightningModule):
    """A module whose rows are numbered by the optimizer steps completed.

    Lightning numbers them by the index of the last step; so numbered, a row and a snapshot of the same moment have the
    same number.
    """

    def row_is_due(self, batch_idx: int) -> bool:
        """Whether the step about to be completed is to be logged; a row costs more than a small model's whole step."""
        if not is_due_after(self.trainer.global_step + 1, self.trainer):
            return False
        return (batch_idx + 1) % self.trainer.accumulate_grad_batches == 0 or self.trainer.is_last_batch

    def row_number(self) -> dict[str, Tensor]:
        """The number of the present row, as Lightning takes it: a metric. float64 holds every step exactly."""
        return {"step": torch.tensor(self.trainer.global_step, dtype=torch.float64)}

    def on_train_epoch_start(self) -> None:
        """Forget the last row's number."""
        self._forget_number()

    def on_validation_model_train(self) -> None:
        """Go back to training after a validation, and forget its number."""
        super().on_validation_model_train()
        self._forget_number()

    def _forget_number(self) -> None:
        # `ModelCheckpoint` would name the files of later steps by it, each in place of the one before. The property
        # hands out the dict that Lightning itself goes on with; nothing outside this file may change it.
        self.trainer.callback_metrics.pop("step", None)


def log_training_row(
    module: LearningRate, values: Mapping[str, Tensor], measures: Mapping[str, Tensor], images_seen: int
) -> None:
    """Log the losses of the step that is about to be completed, with the learning rate and the images seen.

    Lightning takes 1 ms for each value it logs. What is only to be written goes to the loggers without it; the total
    goes through it where there is a progress bar to show it.

    Args:
        module: The model in training.
        values: `loss`, the total, and its terms.
        measures: What else tells of the model's state.
        images_seen: Training samples up to and with this step, all processes together.
    """
    trainer = module.trainer
    if trainer.progress_bar_callback is not None:
        module.log("train/loss", values["loss"], prog_bar=True, logger=False)
    named = {f"train/{name}": value for name, value in values.items()}
    named |= {f"measures/{name}": value for name, value in measures.items()}
    trainer.callback_metrics.update(named)
    row = {name: float(value) for name, value in named.items()}
    row |= {"optim/lr": module.learning_rate, "progress/images_seen": float(images_seen)}
    for logger in trainer.loggers:
        logger.log_metrics({**row, "epoch": trainer.current_epoch}, step=trainer.global_step + 1)
