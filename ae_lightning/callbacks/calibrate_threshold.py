"""The threshold of batch-wise selected codes, set so that samples held out are as sparse as asked for."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.trainer.states import TrainerFn
from torch import Tensor

from ae_lightning.analysis.calibration import threshold_for_l0
from ae_lightning.callbacks.decoder_norm import refuse_split_weights
from ae_lightning.callbacks.first_process import on_first_process
from ae_lightning.callbacks.observing import observing, validation_batches, validation_samples
from ae_lightning.data.base import AutoencoderDataModule
from ae_lightning.errors import ConfigError
from ae_lightning.models.selecting import SelectingDictionary
from ae_lightning.nn.batch_topk import BatchTopK
from ae_lightning.nn.precision import like_weights


class CalibrateThreshold(Callback):
    """Set the threshold above which latents fire in evaluation so that L0 on the validation set is k.

    It is for codes that are selected from a batch in training (`BatchTopKSAE`, `MatryoshkaSAE`), whose threshold
    otherwise follows the smallest value that batches keep. It acts before each validation, which then measures the
    model as it is saved, and at the end of an epoch without one. Training does not know of it: with the next step the
    model is back at its running threshold.

    A moment costs an encoding of the validation set, or of as many of its batches as `--trainer.limit_val_batches`
    says; of several processes the first computes it for all. The threshold is found in the weights' own precision,
    without autocast.
    """

    def __init__(self) -> None:
        self._calibrated_step = -1

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse models without such a threshold, and fits without a validation set."""
        if stage != "fit":
            return
        refuse_split_weights(trainer, "CalibrateThreshold")
        _selection(pl_module)
        if not isinstance(trainer.datamodule, AutoencoderDataModule) or trainer.limit_val_batches == 0:  # type: ignore[attr-defined]
            raise ConfigError(
                "CalibrateThreshold needs validation samples of a data module of ours, but the fit has none: give it "
                "one without --trainer.limit_val_batches 0, or take the callback out"
            )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Forget an earlier fit."""
        self._calibrated_step = -1

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Calibrate, within a fit."""
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._calibrate(trainer, pl_module)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Calibrate what is saved where no validation has just done so."""
        if self._calibrated_step != trainer.global_step:
            self._calibrate(trainer, pl_module)

    def _calibrate(self, trainer: Trainer, module: LightningModule) -> None:
        self._calibrated_step = trainer.global_step
        threshold: Any = on_first_process(trainer, lambda: _threshold(trainer, module))
        _selection(module).calibrate(trainer.strategy.broadcast(threshold))


def _threshold(trainer: Trainer, module: LightningModule) -> Tensor:
    """The threshold (…) at which the validation samples have k active latents, on the CPU."""
    assert isinstance(module, SelectingDictionary)
    with observing(trainer, module), torch.autocast(module.device.type, enabled=False):
        data: AutoencoderDataModule = trainer.datamodule  # type: ignore[attr-defined]
        inputs = (like_weights(module, module.pair(batch)[0]) for batch in validation_batches(trainer, data))
        scores = (module.scores(x) for x in inputs)
        return threshold_for_l0(scores, _selection(module).each_k, validation_samples(trainer, data)).cpu()


def _selection(module: LightningModule) -> BatchTopK:
    """What a model's codes are selected by.

    Raises:
        ConfigError: They are not selected above a threshold.
    """
    selection = module.dictionary.activation if isinstance(module, SelectingDictionary) else None
    if not isinstance(selection, BatchTopK):
        raise ConfigError(
            "CalibrateThreshold needs codes that are selected from a batch, as those of BatchTopKSAE or MatryoshkaSAE "
            f"with --model.select batch, but those of {type(module).__name__} are not: take it out of trainer.callbacks"
        )
    return selection
