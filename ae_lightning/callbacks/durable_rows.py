"""Rows of metrics are on the disk before a checkpoint that says they were logged."""

from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from ae_lightning.upstream import private


class DurableRows(Checkpoint):
    """Write out what was logged before a checkpoint is written.

    A run that goes on from a checkpoint logs nothing of what came before it. But Lightning logs the means of an epoch
    once the checkpoint at its end is saved, and TensorBoard's writer keeps events for up to two minutes: a process
    that is killed in between would lose them for good.

    It stands first among the callbacks. Being a `Checkpoint` puts it behind all those that log at the end of an epoch,
    and before the others that save.
    """

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the epoch's means now, and not once more when Lightning comes to it."""
        connector = private(trainer, "_logger_connector", None)
        if connector is not None:
            connector.on_epoch_end()
            connector.update_train_epoch_metrics()

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Let the loggers write what they still hold."""
        for logger in trainer.loggers:
            logger.save()
