"""Decoder rows of norm 1, so that a sparsity penalty cannot be evaded by small codes and long rows."""

from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy
from torch import Tensor
from torch.optim import Optimizer

from ae_lightning.errors import ConfigError
from ae_lightning.models.shallow import ShallowAutoencoder
from ae_lightning.nn.linear import normalize_rows
from ae_lightning.nn.precision import at_least_float32


class DecoderNorm(Callback):
    """Divide what each latent writes, its decoder row, by its Euclidean norm: when a fit starts and after each step.

    Rows are those of `decoder_vectors` (…, latent, input) of a shallow variant, with or without instances. With tied
    weights they are the encoder's rows too, which so keep norm 1 as well. Of a deep variant that has them the rows of
    `basis_vectors()` are divided, in each layer of the decoder. A row of zeros stays as it is.

    Of a dictionary with `unit_norm`, whose decoding divides rows itself, the rows that it keeps are divided after each
    step only, so that the first step starts from their lengths; with tied weights these are the encoder's, and left.

    Beside `norm_weighted` of a sparse dictionary nothing is left to weigh: all norms are 1 at each step, and penalties
    and selections those without weights.

    List it in `trainer.callbacks` before `ResampleDeadLatents` and whatever else looks at weights after a step. On
    the command line snapshots, pictures and checkpoints come after the listed callbacks by themselves.

    Args:
        project_gradient: Whether to remove, before each step, the part of a row's gradient that is parallel to the
            row, which would only change its norm, and the optimizer's memory of it. It is done before gradients are
            clipped. With tied weights it is the gradient of both uses of the row. For variants with a dictionary only;
            null projects where there is one. The gradient of a dictionary with `unit_norm` has no such part.

    Source: Bricken et al. (2023), "Towards Monosemanticity".
    """

    def __init__(self, project_gradient: bool | None = None) -> None:
        self.project_gradient = project_gradient
        self._last_step = 0

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Refuse what has no rows to divide, and strategies that tear rows apart."""
        if stage != "fit":
            return
        refuse_split_weights(trainer, type(self).__name__)
        shallow = isinstance(pl_module, ShallowAutoencoder)
        if not shallow and not hasattr(pl_module, "basis_vectors"):
            raise ConfigError(
                f"DecoderNorm needs a variant with a dictionary, such as OvercompleteAutoencoder, or with basis "
                f"vectors, but {type(pl_module).__name__} has neither: take it out of trainer.callbacks"
            )
        if self.project_gradient and not shallow:
            raise ConfigError(
                f"DecoderNorm: project_gradient needs a variant with a dictionary, but {type(pl_module).__name__} has "
                "none: set it to false"
            )

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Divide the rows of a new run, before anything looks at them; those of a resumed one are left as saved."""
        if isinstance(pl_module, ShallowAutoencoder) and pl_module.dictionary.unit_norm:
            return  # what it writes has norm 1 already
        # LearningRateFinder names a checkpoint too, that of the untrained model.
        if trainer.ckpt_path is None or getattr(pl_module, "images_seen", 0) == 0:
            normalize_decoder(pl_module)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note the step that a resumed run goes on from."""
        self._last_step = trainer.global_step

    def on_before_optimizer_step(self, trainer: Trainer, pl_module: LightningModule, optimizer: Optimizer) -> None:
        """Remove what would only change the norm of rows."""
        if isinstance(pl_module, ShallowAutoencoder) and self.project_gradient is not False:
            project_decoder_gradient(pl_module)

    def on_train_batch_end(self, trainer: Trainer, pl_module: LightningModule, *args: Any) -> None:
        """Divide the rows if a step was taken; batches whose gradients accumulate change nothing."""
        if trainer.global_step != self._last_step:
            self._last_step = trainer.global_step
            normalize_decoder(pl_module)


def normalize_decoder(module: LightningModule) -> None:
    """Divide the rows that the decoder keeps by their norm, in place, as `normalize_rows` does."""
    for rows in _matrices(module):
        normalize_rows(rows)


def _matrices(module: Any) -> list[Tensor]:
    if not isinstance(module, ShallowAutoencoder):
        return module.basis_vectors()
    rows = module.dictionary.decoder_rows
    return [] if rows is None else [rows]


@torch.no_grad()
def project_decoder_gradient(module: ShallowAutoencoder) -> None:
    """Remove from the gradient of each decoder row its component along the row, in place."""
    dictionary, rows = module.dictionary, at_least_float32(module.decoder_vectors)
    grad = dictionary.W_enc.grad if dictionary.W_dec is None else dictionary.W_dec.grad
    if grad is None or dictionary.unit_norm:  # the division takes that component from its gradient
        return
    grad = grad.mT if dictionary.W_dec is None else grad
    square = rows.square().sum(-1, keepdim=True)
    along = (grad * rows).sum(-1, keepdim=True) / square.masked_fill_(square == 0, 1.0)
    grad.sub_(along * rows)


def refuse_split_weights(trainer: Trainer, callback: str) -> None:
    """Check that each process holds whole weights, which a callback reads or edits.

    Raises:
        ConfigError: The strategy splits weights, or the optimizer's state, among processes.
    """
    strategy: Any = trainer.strategy
    if isinstance(strategy, (FSDPStrategy, ModelParallelStrategy, DeepSpeedStrategy)):
        raise ConfigError(
            f"{callback} needs whole weights, which {type(strategy).__name__} splits among processes: use "
            "--trainer.strategy ddp"
        )
