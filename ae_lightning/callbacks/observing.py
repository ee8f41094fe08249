"""Looking at a model in the middle of training without leaving a trace."""

import contextlib
from collections.abc import Iterator

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.utilities.seed import isolate_rng

from ae_lightning.nn.modes import evaluation_mode


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
