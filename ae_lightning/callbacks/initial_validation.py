"""Validation error of the untrained model, the number every later one is compared with."""

from lightning.pytorch import Callback, LightningModule, Trainer

from ae_lightning.callbacks.observing import log_now, observing
from ae_lightning.data.base import AutoencoderDataModule
from ae_lightning.models.base import Autoencoder
from ae_lightning.models.epoch_means import EpochMeans


class InitialValidation(Callback):
    """Log `val/loss` and its terms at step 0.

    Lightning's sanity check runs at the same moment, but logs nothing.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Run over the validation set once, unless the run is resumed."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        fresh = trainer.global_step == 0 and trainer.is_global_zero and trainer.limit_val_batches != 0
        if not (fresh and isinstance(data, AutoencoderDataModule) and isinstance(pl_module, Autoencoder)):
            return
        means = EpochMeans()
        with observing(trainer, pl_module):
            for x, _ in data.val_set.batches(data.eval_batch_size):
                losses, _ = pl_module.loss(x.to(pl_module.device))
                means.add(pl_module.per_instance(losses), len(x))
        log_now(trainer, {f"val/{name}": float(value) for name, value in means.compute().items()})
