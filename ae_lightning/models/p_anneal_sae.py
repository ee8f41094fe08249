"""Sparse autoencoders whose penalty comes closer and closer to counting active latents: p-annealing."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from ae_lightning.losses.sparsity import weighted_lp
from ae_lightning.models.base import AutoencoderOutput
from ae_lightning.models.sparse_dictionary import SparseDictionary
from ae_lightning.nn.p_annealing import PAnnealing
from ae_lightning.training.batch import Pass
from ae_lightning.training.checks import require_positive
from ae_lightning.training.coefficients import Ramp
from ae_lightning.training.population import count_of

# Without the rise more directions are lost before latents have found them.
_RISING = Ramp(start=0.0, end=2.0, until=0.1)
_FALLING = Ramp(start=1.0, end=0.2, begin=0.1, until=0.8)
# The limit p → 0 counts latents and has no slope; L1 is the other end.
_LEAST, _MOST = 0.01, 1.0
_ROUNDING = 1e-9


class PAnnealSAE(SparseDictionary):
    """z = ReLU(W_enc (x − b_dec) + b_enc), x̂ = W_dec z + b_dec, and a penalty on Σ z^p, p falling from 1 in training.

    It begins as L1 and ends near L0, which does not shrink what latents write. At each change of p the penalty is
    multiplied by a factor that keeps its size, the ratio of its means over the last 10 steps at the old p and the new.
    Near zero z^p is smoothed, as `losses.sparsity.lp` says; the p-th root is not taken.

    In evaluation the penalty is that of the last p, without the factor, so that losses of all epochs can be compared.

    Source: Karvonen et al. (2024), "Measuring progress in dictionary learning for language model interpretability",
    arXiv 2408.00113.

    Args:
        input_shape: Shape of one sample. The command line takes it from the data.
        latent_dim: Number of latents.
        penalty_weight: Coefficient of the penalty, or how it changes over the run, or a list with a number for each
            instance. It belongs to the first p, to the sum of squares over dimensions (mse_sum) and to inputs of mean
            norm √d. Null is 2, to which it rises over a tenth of the run.
        p: Exponent, or how it changes over the run. Null goes from 1 to 0.2 between one and eight tenths of the run.
        p_steps: Equal changes in which it does so.
        instances: Independent copies trained side by side, or None for a single one.
        norm_weighted: Whether the penalty is Σ (z ‖w‖)^p with the norms of decoder rows.
        **kwargs: Arguments of `SparseDictionary`.
    """

    def __init__(
        self,
        input_shape: tuple[int, ...],
        latent_dim: int = 4096,
        penalty_weight: float | list[float] | Ramp | None = None,
        p: float | Ramp | None = None,
        p_steps: int = 10,
        instances: int | None = None,
        norm_weighted: bool = True,
        **kwargs: Any,
    ) -> None:
        require_positive(p_steps=p_steps)
        activation, copies = nn.ReLU(inplace=True), count_of(instances, penalty_weight=penalty_weight, **kwargs)
        super().__init__(input_shape, latent_dim, activation, copies, norm_weighted=norm_weighted, **kwargs)
        self.penalty_weight = self.coefficient("penalty_weight", _RISING if penalty_weight is None else penalty_weight)
        self.p = self.coefficient("p", _FALLING if p is None else p, _LEAST, _MOST)
        ramp = self.p.ramp
        self.annealing = PAnnealing(ramp["start"], ramp["end"], p_steps, copies) if self.p.moves else None

    def sparsity_terms(self, done: Pass) -> dict[str, Tensor]:
        """`lp`, the sum of z^p over latents."""
        p = self.p.final if self.annealing is None or not self.training else self.annealing.p
        return {"lp": weighted_lp(done.z, p, self.penalty_norms)}

    @property
    def loss_weights(self) -> Mapping[str, float | Tensor]:
        """The penalty's coefficient at the present step, in training with the factor of p."""
        weight = self.controlled(self.penalty_weight.present(self))
        if self.annealing is not None and self.training:
            weight = weight * self.annealing.factor
        return {**super().loss_weights, "lp": weight}

    @property
    def advances(self) -> bool:
        """Whether p moves, or anything else does."""
        return self.annealing is not None or super().advances

    @torch.no_grad()
    def observe(self, output: AutoencoderOutput) -> None:
        """Gather the penalties by which the coefficient will be adapted, too."""
        super().observe(output)
        if self.annealing is not None:
            now, following = self.annealing.exponents(self._changes_due())
            z, norms = output.z, self.selection_norms
            self.annealing.observe(weighted_lp(z, now, norms), weighted_lp(z, following, norms))

    @torch.no_grad()
    def advance(self) -> None:
        """Go on to the p of the next step, too."""
        super().advance()
        if self.annealing is not None:
            self.annealing.advance(self._changes_due(), self._reduce)

    def measures(self) -> dict[str, Tensor]:
        """The present p and its factor, too."""
        return super().measures() | ({} if self.annealing is None else self.annealing.measures())

    def _changes_due(self) -> int:
        """How often p is to have changed for the next step; the trainer counts the present one after `advance`."""
        assert self.annealing is not None
        part = self.p.part(self.trainer.global_step + 1, self.total_steps)
        return int(part * self.annealing.changes + _ROUNDING)
