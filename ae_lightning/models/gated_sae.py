"""Gated sparse autoencoders: which latents fire and how much they fire are learned apart."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ae_lightning.losses.sparsity import l1_of_sums, weighted_l1
from ae_lightning.models.sparse_dictionary import SparseDictionary
from ae_lightning.nn.affine import affine
from ae_lightning.nn.gated import Gated
from ae_lightning.training.batch import Pass
from ae_lightning.training.coefficients import Ramp
from ae_lightning.training.population import count_of

# Without the rise the gates close before they have learned what to open for.
_RISING = Ramp(start=0.0, end=4.8, until=0.3)


class GatedSAE(SparseDictionary):
    """z = 1[π > 0] · ReLU(h e^r + b_mag) with h = W_enc (x − b_dec) and π = h + b_gate, x̂ = W_dec z + b_dec.

    The penalty is on ReLU(π), so that it does not shrink what latents write. The gate, which gets no gradient through
    z, learns by it and by `auxiliary`, the error of a reconstruction from ReLU(π) by a decoder that is held fixed:
    SAELens lets that term train the decoder too.

    Source: Rajamanoharan et al. (2024), "Improving dictionary learning with gated sparse autoencoders", arXiv
    2404.16014.

    Args:
        input_shape: Shape of one sample. The command line takes it from the data.
        latent_dim: Number of latents.
        penalty_weight: Coefficient of the penalty, or how it changes over the run, or a list with a number for each
            instance. It belongs to the sum of squares over dimensions (mse_sum) of inputs of mean norm √d. Null is 4.8,
            to which it rises over three tenths of the run.
        instances: Independent copies trained side by side, or None for a single one.
        **kwargs: Arguments of `SparseDictionary`.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        latent_dim: int = 4096,
        penalty_weight: float | list[float] | Ramp | None = None,
        instances: int | None = None,
        **kwargs: Any,
    ) -> None:
        copies = count_of(instances, penalty_weight=penalty_weight, **kwargs)
        activation = Gated(latent_dim, copies)
        super().__init__(
            input_shape, latent_dim, activation, copies, encoder_bias=False, output_activation="none", **kwargs
        )
        self.penalty_weight = self.coefficient("penalty_weight", _RISING if penalty_weight is None else penalty_weight)

    def sparsity_terms(self, done: Pass) -> dict[str, Tensor]:
        """`l1` of ReLU(π), and `auxiliary`, the error of its reconstruction."""
        if done.blocked is not None:
            sums, decoded = done.blocked.sums, done.blocked.decoded[1]
            assert sums is not None
            return {
                "l1": l1_of_sums(sums, done.blocked.code.samples, self.selection_norms),
                "auxiliary": self.error(decoded, done.target),
            }
        assert isinstance(self.dictionary.activation, Gated)
        assert done.pre is not None
        gate = self.dictionary.activation.scores(done.pre).relu_()
        rows, bias = self.dictionary.decoder_vectors.detach(), self.dictionary.b_dec.detach()
        return {
            # Through norms the penalty would shrink rows, which no term of the gate makes up for.
            "l1": weighted_l1(gate, self.selection_norms, rectified=True),
            "auxiliary": self.error(affine(gate, rows, bias), done.target),
        }

    @property
    def loss_weights(self) -> Mapping[str, float | Tensor]:
        """The penalty's coefficient at the present step."""
        return {**super().loss_weights, "l1": self.controlled(self.penalty_weight.present(self))}
