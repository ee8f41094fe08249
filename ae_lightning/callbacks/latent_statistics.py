"""How sparse the code is on the validation set."""

import warnings
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from torchmetrics import MetricCollection

from ae_lightning.callbacks.observing import log_now
from ae_lightning.callbacks.resampling import ResampleDeadLatents
from ae_lightning.errors import Notice
from ae_lightning.metrics.sparsity import L0, DeadFraction
from ae_lightning.models.shallow import ShallowAutoencoder


class LatentStatistics(Callback):
    """Log `sparsity/l0` and `sparsity/dead_fraction` after each validation, for shallow variants with a ReLU code.

    A latent fires where its value is above zero. L0 is the mean number of latents that fire on an image; the
    dead fraction is that of latents which fired on no validation image. Where that is all of them, which training
    cannot mend by itself, it is said once what can.
    """

    def __init__(self) -> None:
        self._has_told = False

    def on_validation_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin to count."""
        metrics = {"sparsity/l0": L0(), "sparsity/dead_fraction": DeadFraction()}
        # Both are made of the same counts, which are taken once.
        self._metrics = MetricCollection(dict(metrics), compute_groups=[list(metrics)]).to(pl_module.device)

    def on_validation_batch_end(self, trainer: Trainer, pl_module: LightningModule, outputs: Any, *args: Any) -> None:
        """Count one batch."""
        if _applies(pl_module):
            self._metrics.update(outputs["z"])

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Log the counts over the whole set, all processes together."""
        if _applies(pl_module) and not trainer.sanity_checking:
            found = {name: float(value) for name, value in self._metrics.compute().items()}
            log_now(trainer, found)
            if found["sparsity/dead_fraction"] == 1 and trainer.state.fn == "fit":
                self._tell(trainer)

    def _tell(self, trainer: Trainer) -> None:
        mended = any(isinstance(callback, ResampleDeadLatents) for callback in trainer.callbacks)  # type: ignore[attr-defined]
        if not (self._has_told or mended) and trainer.is_global_zero:
            self._has_told = True
            warnings.warn(
                f"all latents are dead after {trainer.global_step} steps: none fires on any validation sample, and "
                "their weights get no gradient; begin anew with a lower --model.optimizer.lr or a lower weight of the "
                "sparsity penalty, or with ResampleDeadLatents in --trainer.callbacks",
                Notice,
                stacklevel=2,
            )


def _applies(module: LightningModule) -> bool:
    return isinstance(module, ShallowAutoencoder) and module.fires_above_zero
