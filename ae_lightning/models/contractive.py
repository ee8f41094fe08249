"""Autoencoders whose code is made to move little with the input."""

from typing import Any

from torch import Tensor

from ae_lightning.models.networked import NetworkAutoencoder
from ae_lightning.nn.contraction import layer_contraction, projected_contraction, single_layer
from ae_lightning.nn.modes import running_statistics_in_use
from ae_lightning.training.batch import AutoencoderOutput
from ae_lightning.training.checks import require_not_negative, require_positive
from ae_lightning.training.draws import draws_for


class ContractiveAutoencoder(NetworkAutoencoder):
    """Penalizes ‖J‖²_F, the squared Frobenius norm of the encoder's Jacobian at each sample.

    The objective is reconstruction + contraction_weight × contraction, in evaluation too, so that `best.ckpt` is the
    best by what is meant. `contraction` is ‖J‖²_F, the sum over all entries of J, mean over the batch. Of an encoder of
    one layer, `MLPNetwork` without hidden layers, it is exact. Of deeper ones it is estimated by random projections of
    each sample: unbiased, with the variance that `projected_contraction` states. In evaluation a sample's projections
    are the same each time.

    A code that may be any number can meet the penalty by being small, with a decoder that makes up for it. Give the
    code an activation that bounds it, such as the sigmoid of the paper, or compare ‖J‖²_F with the variance of codes.

    Source: Rifai et al. (2011), "Contractive auto-encoders: explicit invariance during feature extraction".

    Args:
        input_shape: Shape of one sample, such as (1, 28, 28). The command line takes it from the data.
        contraction_weight: Coefficient of the penalty.
        probes: Random projections of each sample where the encoder has several layers; each takes one pass back
            through the encoder.
        **kwargs: Arguments of `NetworkAutoencoder`.
    """

    def __init__(
        self, input_shape: tuple[int, ...], contraction_weight: float = 1e-4, probes: int = 2, **kwargs: Any
    ) -> None:
        require_not_negative(contraction_weight=contraction_weight)
        require_positive(probes=probes)
        super().__init__(input_shape, **kwargs)
        self.contraction_weight = contraction_weight
        self.probes = probes

    def contraction(self, x: Tensor) -> Tensor:
        """‖J‖²_F at samples x (batch, *input_shape), (batch,): exact of one layer, else estimated."""
        if layer := single_layer(self.encoder):
            return layer_contraction(layer, x)
        with running_statistics_in_use(self.encoder):  # by those of a batch each code would depend on all samples
            return projected_contraction(self.encoder, x, draws_for(self, x), self.probes)

    def terms(self, x: Tensor, target: Tensor) -> tuple[dict[str, Tensor], AutoencoderOutput]:
        """Forward pass and the terms `reconstruction` and `contraction`."""
        output = self(x)
        return self.loss_terms(target, output) | {"contraction": self.contraction(x).mean()}, output

    @property
    def loss_weights(self) -> dict[str, float]:
        """The penalty's coefficient."""
        return {"contraction": self.contraction_weight}

    @property
    def untraceable(self) -> str:
        """Its loss is differentiated twice."""
        return "its Jacobian is differentiated twice"
