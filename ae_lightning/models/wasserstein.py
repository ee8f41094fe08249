"""Autoencoders whose codes are distributed like a prior."""

from typing import Any

import torch
from torch import Tensor

from ae_lightning.errors import ConfigError
from ae_lightning.losses.mmd import imq_mmd
from ae_lightning.losses.reconstruction import ReconstructionLossName
from ae_lightning.models.networked import NetworkAutoencoder
from ae_lightning.training.batch import AutoencoderOutput
from ae_lightning.training.checks import require_not_negative
from ae_lightning.training.draws import draws_for, is_step
from ae_lightning.training.gathering import gathered


class WassersteinAutoencoder(NetworkAutoencoder):
    """A penalty draws the codes of a batch, taken together, to a standard normal: samples are decoded draws from it.

    The objective is reconstruction + mmd_weight × mmd. `mmd` is the maximum mean discrepancy of the batch's codes and
    as many draws from the prior, by inverse multiquadric kernels of seven widths; see `imq_mmd`. It is unbiased, so
    that it is below 0 half of the time where codes are distributed like the prior. A code is a function of its sample,
    without noise.

    Its size depends on the batch: the codes of a batch are compared, not those of the whole set. In training on several
    processes the batch is that of all of them together; in evaluation it is a process's own. In evaluation the draws
    are the same each time. A batch of a single sample has no such term.

    Source: Tolstikhin et al. (2018), "Wasserstein auto-encoders", WAE-MMD.

    Args:
        input_shape: Shape of one sample, such as (1, 28, 28). The command line takes it from the data.
        mmd_weight: Coefficient of the penalty; it belongs to a sum over pixels.
        reconstruction_loss: As `Autoencoder` has it.
        **kwargs: Arguments of `NetworkAutoencoder`.
    """

    linear_code = True

    def __init__(
        self,
        input_shape: tuple[int, ...],
        mmd_weight: float = 10.0,
        reconstruction_loss: ReconstructionLossName = "mse_sum",
        **kwargs: Any,
    ) -> None:
        require_not_negative(mmd_weight=mmd_weight)
        super().__init__(input_shape, reconstruction_loss=reconstruction_loss, **kwargs)
        self.mmd_weight = mmd_weight

    def terms(self, x: Tensor, target: Tensor) -> tuple[dict[str, Tensor], AutoencoderOutput]:
        """Forward pass and the terms `reconstruction` and `mmd`."""
        output = self(x)
        terms = self.loss_terms(target, output)
        codes = output.z.flatten(1)
        pairs = torch.cat([codes, draws_for(self, x).normal(codes.shape[1]).to(codes.dtype)], 1)
        if is_step(self):
            pairs = gathered(self, pairs)
        if len(pairs) > 1:
            codes, prior = pairs.chunk(2, 1)
            terms["mmd"] = imq_mmd(codes, prior)
        return terms, output

    @property
    def loss_weights(self) -> dict[str, float]:
        """The penalty's coefficient."""
        return {"mmd": self.mmd_weight}

    @property
    def untraceable(self) -> str:
        """Its draws are other ones at each step."""
        return "its draws from the prior follow the step"

    def on_train_start(self) -> None:
        """Refuse batches that have no penalty.

        Raises:
            ConfigError: All batches are of one sample.
        """
        super().on_train_start()
        if getattr(self.trainer.train_dataloader, "batch_size", 2) * self.trainer.world_size < 2:
            raise ConfigError(
                "--data.batch_size is 1; the codes of at least 2 samples are compared with each other, so set it to 2 "
                "or more"
            )
