"""What the processes of a training computed, put together."""

from typing import cast

from lightning.pytorch import LightningModule
from torch import Tensor

from ae_lightning.training.trainer import trainer_of


def gathered(model: LightningModule, rows: Tensor) -> Tensor:
    """Rows of all processes, one process after the other, with gradients; those of this one where it is alone.

    All processes have to ask, with equally many rows. Each gets the gradients that all of them have for its rows, and
    the mean over processes that follows makes that the gradient of one process with all rows.

    Args:
        model: What is trained.
        rows: (batch, width).
    """
    trainer = trainer_of(model)
    if trainer is None or trainer.world_size == 1:
        return rows
    return cast(Tensor, model.all_gather(rows, sync_grads=True)).flatten(0, 1)
