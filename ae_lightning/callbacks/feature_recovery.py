"""How well the latents recover the features that the data are made of, where these are known."""

from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer

from ae_lightning.callbacks.observing import log_now
from ae_lightning.data.base import AutoencoderDataModule
from ae_lightning.metrics.recovery import recovery_scores
from ae_lightning.models.shallow import ShallowAutoencoder
from ae_lightning.models.toy_model import ToyModel

_LOGGED = ("mcc", "mmcs", "fraction_recovered", "fully_recovered", "duplicates")


class FeatureRecovery(Callback):
    """Log `recovery/…` after each validation, for shallow variants on data with known feature directions.

    A toy model, which makes directions of its own, is not compared.

    The decoder rows are compared with the directions, see `metrics.recovery`: `mcc`, `mmcs`, `fraction_recovered` at a
    cosine above 0.95, `fully_recovered` (fraction of instances that recover all features) and `duplicates`.
    """

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Compare and log."""
        data = trainer.datamodule  # type: ignore[attr-defined]
        if trainer.sanity_checking or not isinstance(data, AutoencoderDataModule):
            return
        directions = data.feature_directions
        if directions is None or not isinstance(pl_module, ShallowAutoencoder) or pl_module.needs_targets:
            return
        if not isinstance(pl_module, ToyModel):
            rows = pl_module.writing(pl_module.decoder_vectors)
            scores = recovery_scores(rows, directions.to(pl_module.device))
            log_now(trainer, {f"recovery/{name}": scores[name] for name in _LOGGED})
