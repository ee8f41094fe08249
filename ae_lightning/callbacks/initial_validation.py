"""Validation error of the untrained model, the number every later one is compared with."""

import difflib
import math
import warnings

from lightning.pytorch import Callback, LightningModule, Trainer

from ae_lightning.callbacks.first_process import on_first_process
from ae_lightning.callbacks.observing import log_now, validation_losses
from ae_lightning.data.base import AutoencoderDataModule
from ae_lightning.errors import ConfigError, Notice
from ae_lightning.models.base import Autoencoder

# Beyond this it is no passing hill: a learning rate is too high.
_FAR_WORSE = 10.0
_COUNTERS = ("step", "epoch")


class InitialValidation(Callback):
    """Log `val/loss` and its terms at step 0.

    Lightning's sanity check runs at the same moment, but logs nothing.
    """

    def __init__(self) -> None:
        self._untrained: float | None = None  # only on the first process, and not of a run that is resumed

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Run over the validation set once, unless the run is resumed.

        Raises:
            ConfigError: A callback monitors a value of the validation set that there is not.
        """
        data = trainer.datamodule  # type: ignore[attr-defined]
        if trainer.global_step > 0 or trainer.limit_val_batches == 0:
            return
        if isinstance(data, AutoencoderDataModule) and isinstance(pl_module, Autoencoder):
            self._untrained = on_first_process(trainer, lambda: _validate(trainer, pl_module, data))

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Tell once that training makes the model worse by far."""
        loss = float(trainer.callback_metrics.get("val/loss", math.nan))
        if self._untrained is None or not loss > _FAR_WORSE * self._untrained:
            return
        times, self._untrained = loss / self._untrained, None
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        warnings.warn(
            f"after {trainer.global_step} steps the validation loss is {times:.3g} times that of the untrained model: "
            f"lower --model.optimizer.lr (it is {float(rate):g}), or clip gradients with --trainer.gradient_clip_val 1",
            Notice,
            stacklevel=2,
        )


def _validate(trainer: Trainer, module: Autoencoder, data: AutoencoderDataModule) -> float:
    """Log the errors on the validation set; the total is returned."""
    found = validation_losses(trainer, module, data)
    _refuse_unknown_monitors(trainer, list(found))
    log_now(trainer, found)
    return found["val/loss"]


def _refuse_unknown_monitors(trainer: Trainer, known: list[str]) -> None:
    """Refuse a misspelt name now, which Lightning would only look for at the end of the first epoch."""
    for callback in trainer.callbacks:  # type: ignore[attr-defined]
        monitor = getattr(callback, "monitor", None)
        if not isinstance(monitor, str) or monitor in (*known, *_COUNTERS):
            continue
        if monitor.startswith("val/") or "/" not in monitor:  # the other groups are logged later, or not at all
            near = difflib.get_close_matches(monitor, known, n=1, cutoff=0.5)
            raise ConfigError(
                f"{type(callback).__name__} monitors {monitor}, which is not logged"
                f"{f'; did you mean {near[0]}?' if near else f': there are {known}'}"
            )
