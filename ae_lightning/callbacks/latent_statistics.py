"""How sparse the code is on the validation set."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from ae_lightning.callbacks.observing import log_now
from ae_lightning.metrics.sparsity import L0, DeadFraction
from ae_lightning.models.shallow import ShallowAutoencoder


class LatentStatistics(Callback):
    """Log `sparsity/l0` and `sparsity/dead_fraction` after each validation, for shallow variants with a ReLU code.

    A latent fires where its value is above zero. L0 is the mean number of latents that fire on an image; the
    dead fraction is that of latents which fired on no validation image.
    """

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to count."""
        self._metrics = {"sparsity/l0": L0(), "sparsity/dead_fraction": DeadFraction()}
        for metric in self._metrics.values():
            metric.to(pl_module.device)

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *args: Any) -> None:
        """Count one batch."""
        if _applies(pl_module):
            for metric in self._metrics.values():
                metric.update(outputs["z"])

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the counts over the whole set, all processes together."""
        if _applies(pl_module) and not trainer.sanity_checking:
            log_now(trainer, {name: float(metric.compute()) for name, metric in self._metrics.items()})


def _applies(module: LightningModule) -> bool:
    return isinstance(module, ShallowAutoencoder) and module.fires_above_zero
