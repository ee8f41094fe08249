"""A row of metrics in the middle of an epoch."""

from collections.abc import Mapping

from torch import Tensor

from ae_lightning.models.learning_rate import LearningRate


def log_training_row(module: LearningRate, values: Mapping[str, Tensor], images_seen: int) -> None:
    """Log the losses of the step that is about to be completed, with the learning rate and the images seen.

    Lightning takes 1 ms for each value it logs. What is only to be written goes to the loggers without it; the total
    goes through it for the progress bar.

    Args:
        module: The model in training.
        values: `loss`, the total, and its terms.
        images_seen: Training samples up to and with this step, all processes together.
    """
    trainer = module.trainer
    module.log("train/loss", values["loss"], prog_bar=True, logger=False)
    named = {f"train/{name}": value for name, value in values.items()}
    trainer.callback_metrics.update(named)
    row = {name: float(value) for name, value in named.items()}
    row |= {"optim/lr": module.learning_rate, "progress/images_seen": float(images_seen)}
    for logger in trainer.loggers:
        logger.log_metrics({**row, "epoch": trainer.current_epoch}, step=trainer.global_step + 1)
