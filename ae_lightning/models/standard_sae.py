"""The standard sparse autoencoder of dictionary learning: one overcomplete ReLU layer and an L1 penalty."""

from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor

from ae_lightning.analysis.centers import geometric_median
from ae_lightning.losses.sparsity import l1
from ae_lightning.models.base import AutoencoderOutput
from ae_lightning.models.shallow import ShallowAutoencoder, dictionary_for
from ae_lightning.nn.dictionary import DictionaryInit
from ae_lightning.training.checks import require_not_negative
from ae_lightning.training.samples import training_samples

Center = Literal["zero", "mean", "geometric_median"]
"""Where the decoder's bias starts: at zero, or in the middle of the training samples."""

_SAMPLES_FOR_CENTER = 10_000


class StandardSAE(ShallowAutoencoder):
    """z = ReLU(W_enc (x − b_dec) + b_enc), x̂ = W_dec z + b_dec, and a penalty on Σ|z|.

    The loss is the mean squared error per input dimension plus `penalty_weight` times the sum over latents of |z|, both
    means over the batch. Without rows of unit norm the penalty is evaded by small codes and long decoder rows: list the
    callback `DecoderNorm`, or tie the weights. Latents that no sample activates get no gradient and stay dead;
    `ResampleDeadLatents` revives them.

    Source: Bricken et al. (2023), "Towards Monosemanticity"; Cunningham et al. (2023).

    Args:
        input_shape: Shape of one sample. The command line takes it from the data.
        latent_dim: Number of latents.
        penalty_weight: Coefficient of the L1 penalty.
        penalty_warmup: Optimizer steps in which the coefficient rises linearly from 0.
        tied: Whether the decoder is the encoder transposed.
        init: How weights start: linear as `torch.nn.Linear` does, kaiming, kaiming_joint as torch's function has it for
            all instances as one tensor, or transpose, where the decoder's rows are random directions of unit norm and
            the encoder is its transpose.
        center: Where the decoder's bias starts: at zero, or in the middle (mean, geometric_median) of 10,000 training
            samples, which are drawn by the run's seed when a new model is first fitted.
        instances: Independent copies trained side by side, or None for a single one.
        unit_norm: Whether decoding divides each decoder row by its norm, so that none can grow. With tied weights the
            encoder keeps its lengths. Beside it `DecoderNorm` keeps the divided rows of an untied decoder at norm 1.
        **kwargs: Arguments of `Autoencoder`.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        latent_dim: int = 1024,
        penalty_weight: float = 0.001,
        penalty_warmup: int = 0,
        tied: bool = False,
        init: DictionaryInit = "kaiming",
        center: Center = "zero",
        instances: int | None = None,
        unit_norm: bool = False,
        **kwargs: Any,
    ) -> None:
        require_not_negative(penalty_weight=penalty_weight, penalty_warmup=penalty_warmup)
        dictionary = dictionary_for(
            input_shape, latent_dim, "relu", instances, tied=tied, centered=True, init=init, unit_norm=unit_norm
        )
        super().__init__(input_shape, dictionary, **kwargs)
        self.penalty_weight = penalty_weight
        self.penalty_warmup = penalty_warmup
        self.center: Center = center

    def loss_terms(self, target: Tensor, output: AutoencoderOutput) -> dict[str, Tensor]:
        """The reconstruction's error per input dimension, and `l1`, the sum of |z| over latents."""
        return {**super().loss_terms(target, output), "l1": l1(output.z, "sum", rectified=True)}

    @property
    def loss_weights(self) -> Mapping[str, float]:
        """The penalty's coefficient at the present step."""
        return {"l1": self.warmed_up(self.penalty_weight, self.penalty_warmup)}

    def setup(self, stage: str) -> None:
        """Put the decoder's bias into the middle of the training samples, if it is to start there."""
        if stage == "fit" and self.center != "zero" and self.images_seen == 0:
            self.center_on(self.flatten(training_samples(self.trainer, _SAMPLES_FOR_CENTER, "--model.center")))

    @torch.no_grad()
    def center_on(self, x: Tensor) -> None:
        """Set the decoder's bias to the middle of samples x (…, n, input)."""
        middle = x.mean(-2) if self.center == "mean" else geometric_median(x)
        self.dictionary.b_dec.copy_(middle)
