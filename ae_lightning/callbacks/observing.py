"""Looking at a model in the middle of training without leaving a trace."""

import contextlib
import itertools
from collections.abc import Iterable, Iterator

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.trainer.states import RunningStage
from lightning.pytorch.utilities.seed import isolate_rng

from ae_lightning.data.base import AutoencoderDataModule
from ae_lightning.models.base import Autoencoder
from ae_lightning.nn.modes import evaluation_mode
from ae_lightning.nn.precision import like_weights
from ae_lightning.training.batch import Batch
from ae_lightning.training.epoch_means import EpochMeans


@contextlib.contextmanager
def observing(trainer: Trainer, module: LightningModule) -> Iterator[None]:
    """Evaluation mode, no gradients, the run's precision; random state and every module's mode are put back.

    New tensors get torch's own default type. Lightning makes that the weights' in true half precision, in which what
    looks at a model would draw and measure in it too.
    """
    default = torch.get_default_dtype()
    with isolate_rng(), trainer.precision_plugin.val_step_context(), evaluation_mode(module):
        within = torch.get_default_dtype()
        torch.set_default_dtype(default)
        try:
            yield
        finally:
            torch.set_default_dtype(within)


def log_now(trainer: Trainer, metrics: dict[str, float]) -> None:
    """Send scalars to all loggers at the present step, from any hook, on the first process only.

    Lightning's `self.log` is not allowed when a fit starts or ends, which is when callbacks have most to say.
    """
    if trainer.is_global_zero and metrics:
        for logger in trainer.loggers:
            logger.log_metrics({**metrics, "epoch": trainer.current_epoch}, step=trainer.global_step)


def validation_losses(trainer: Trainer, module: Autoencoder, data: AutoencoderDataModule) -> dict[str, float]:
    """What Lightning's validation would log now: `val/loss` and its terms, means over the validation set.

    Nothing is logged, and nothing in the trainer knows of it. It takes as many batches as `limit_val_batches` lets
    Lightning take, the first ones, on this process.
    """
    means, stage = EpochMeans(), trainer.state.stage
    trainer.state.stage = RunningStage.VALIDATING  # where a variant's own logging belongs
    try:
        with observing(trainer, module):
            for batch in validation_batches(trainer, data):
                x, target = (like_weights(module, part) for part in module.pair(batch))
                losses, _ = module.loss(x, target)
                means.add(module.per_instance(losses), len(x))
    finally:
        trainer.state.stage = stage
    return {f"val/{name}": float(value) for name, value in means.compute().items()}


def validation_batches(trainer: Trainer, data: AutoencoderDataModule) -> Iterable[Batch]:
    """The first batches of the whole validation set, as many as `limit_val_batches` lets all processes together see."""
    return itertools.islice(data.val_set.batches(data.eval_batch_size), _allowed_batches(trainer, data))


def validation_samples(trainer: Trainer, data: AutoencoderDataModule) -> int:
    """How many samples these batches hold."""
    return min(len(data.val_set), _allowed_batches(trainer, data) * data.eval_batch_size)


def _allowed_batches(trainer: Trainer, data: AutoencoderDataModule) -> int:
    limit = trainer.limit_val_batches
    count = -(-len(data.val_set) // data.eval_batch_size)
    return limit * trainer.world_size if isinstance(limit, int) else max(1, int(count * limit))
