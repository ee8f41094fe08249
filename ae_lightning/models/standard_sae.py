"""The standard sparse autoencoder of dictionary learning: one overcomplete ReLU layer and an L1 penalty."""

from collections.abc import Mapping
from typing import Any

import torch
from lightning.pytorch.cli import OptimizerCallable
from torch import Tensor, nn

from ae_lightning.losses.reconstruction import ReconstructionLossName
from ae_lightning.losses.sparsity import l1
from ae_lightning.models.scaled_dictionary import Center, Start
from ae_lightning.models.sparse_dictionary import SparseDictionary
from ae_lightning.nn.scaling import InputScalingName
from ae_lightning.training.batch import Pass
from ae_lightning.training.checks import require_not_negative
from ae_lightning.training.coefficients import Ramp
from ae_lightning.training.population import count_of


class StandardSAE(SparseDictionary):
    """z = ReLU(W_enc (x − b_dec) + b_enc), x̂ = W_dec z + b_dec, and a penalty on Σ|z|.

    The loss is the mean squared error per input dimension plus `penalty_weight` times the sum over latents of |z|, both
    means over the batch. A published coefficient that belongs to a sum over dimensions is to be used with
    `reconstruction_loss` mse_sum. Without rows of unit norm the penalty is evaded by small codes and long decoder rows:
    list the callback `DecoderNorm`, weigh it by norms, or tie the weights. Latents that no sample activates get no
    gradient and stay dead; `ResampleDeadLatents` or AuxK revive them.

    Source: Bricken et al. (2023), "Towards Monosemanticity"; Cunningham et al. (2023).

    Args:
        input_shape: Shape of one sample. The command line takes it from the data.
        latent_dim: Number of latents.
        penalty_weight: Coefficient of the L1 penalty, or how it changes over the run, or a list with a number for each
            instance.
        penalty_warmup: Optimizer steps in which the coefficient rises linearly from 0.
        tied: Whether the decoder is the encoder transposed.
        init: How weights start: linear as `torch.nn.Linear` does, kaiming, kaiming_joint as torch's function has it for
            all instances as one tensor, transpose, where the decoder's rows are random directions of unit norm and the
            encoder is its transpose, or from data; see `Start`.
        center: Where the decoder's bias starts: at zero, or in the middle (mean, geometric_median) of 10,000 training
            samples, which are drawn by the run's seed when a new model is first fitted.
        instances: Independent copies trained side by side, or None for a single one.
        unit_norm: Whether decoding divides each decoder row by its norm, so that none can grow. With tied weights the
            encoder keeps its lengths. Beside it `DecoderNorm` keeps the divided rows of an untied decoder at norm 1.
        norm_weighted: Whether the penalty is Σ|z| ‖w‖ with the norms of decoder rows (Anthropic, April 2024).
        input_scaling: How inputs are scaled before the encoder reads them, by what 10,000 training samples tell: none;
            mean_norm, one factor that makes the mean norm √d for d dimensions; mean_square, one that makes the mean
            squared norm 1; centered, the mean subtracted; centered_mean_norm and centered_mean_square, both; whitened,
            each principal direction with deviation 1; or standardized, each sample by itself. Losses are in scaled
            units.
        reconstruction_loss: mse, bce or mae, means over pixels and batch; mse_sum, the squared error summed over
            pixels, mean over the batch; or fvu, the fraction of the batch's variance that is unexplained.
        optimizer: Builds the optimizer from the parameters; no rate is chosen here by width and length of the run.
        **kwargs: Arguments of `SparseDictionary`.
    """

    has_default_rate = False

    def __init__(
        self,
        input_shape: tuple[int, ...],
        latent_dim: int = 1024,
        penalty_weight: float | list[float] | Ramp = 0.001,
        penalty_warmup: int = 0,
        tied: bool = False,
        init: Start = "kaiming",
        center: Center = "zero",
        instances: int | None = None,
        unit_norm: bool = False,
        norm_weighted: bool = False,
        input_scaling: InputScalingName = "none",
        reconstruction_loss: ReconstructionLossName = "mse",
        optimizer: OptimizerCallable = lambda params: torch.optim.Adam(params, lr=1e-3, fused=True),
        **kwargs: Any,
    ) -> None:
        require_not_negative(penalty_warmup=penalty_warmup)
        super().__init__(
            input_shape,
            latent_dim,
            nn.ReLU(inplace=True),
            count_of(instances, penalty_weight=penalty_weight, **kwargs),
            tied=tied,
            init=init,
            center=center,
            unit_norm=unit_norm,
            norm_weighted=norm_weighted,
            input_scaling=input_scaling,
            reconstruction_loss=reconstruction_loss,
            optimizer=optimizer,
            **kwargs,
        )
        self.penalty_weight = self.coefficient("penalty_weight", penalty_weight)
        self.penalty_warmup = penalty_warmup

    def sparsity_terms(self, done: Pass) -> dict[str, Tensor]:
        """`l1`, the sum of |z| over latents."""
        each = self.norm_weighted or self.controller is not None or self.penalty_weight.differs or self.tells_apart
        if each or done.blocked is not None:
            return {"l1": self.weighted_l1(done)}
        return {"l1": l1(done.z, rectified=True)}

    @property
    def loss_weights(self) -> Mapping[str, float | Tensor]:
        """The penalty's coefficient at the present step."""
        weight = self.warmed_up(self.penalty_weight.present(self), self.penalty_warmup)
        return {**super().loss_weights, "l1": self.controlled(weight)}
