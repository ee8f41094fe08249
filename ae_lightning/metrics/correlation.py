"""How codes go with the magnitudes of true features."""

from __future__ import annotations

import torch
from torch import Tensor

from ae_lightning.metrics.detection import JointSums
from ae_lightning.metrics.recovery import matched_sum

# A spread below this part of the root mean square is rounding.
_ROUNDING = 1e-7


class CorrelationMCC(JointSums):
    """Mean |Pearson correlation| of latents with the magnitudes of truths, under the best one-to-one matching.

    With r(i, j) the correlation of z_i and y_j over samples, zeros included, it is Σ |r| over matched pairs, divided by
    the number of truths (`correlation_mcc`) or of pairs (`correlation_mcc_matched`). The original MCC of nonlinear ICA
    (Hyvärinen and Morioka 2016). It sees the encoder and needs no direction: a latent that fires at the right time but
    writes elsewhere scores here and not in `mcc`, one with the right direction and a wrong encoder the other way round.

    Range [0, 1]; 1 where each truth has a latent that rises and falls with it. A latent or truth that does not vary has
    correlation 0 with all; NaN with codes that are not finite.

    Args:
        **kwargs: Arguments of `JointSums`.
    """

    higher_is_better = True

    def correlations(self) -> Tensor:
        """Pearson's r (…, latent, feature), float64."""
        mean, truth_mean = self.sums / self.samples, self.truth_sums / self.samples
        found = self.products / self.samples
        found -= mean.unsqueeze(-1) * truth_mean.unsqueeze(-2)
        found *= _inverse_spread(mean, self.squares / self.samples).unsqueeze(-1)
        found *= _inverse_spread(truth_mean, self.truth_squares / self.samples).unsqueeze(-2)
        return found.clamp_(-1, 1)

    def compute(self) -> dict[str, Tensor]:
        """Answer `correlation_mcc` and `correlation_mcc_matched`, (…) each, float64."""
        found = self.correlations()
        latents, features = found.shape[-2:]
        each = found.reshape(-1, latents, features).cpu()
        sums = found.new_tensor([matched_sum(one) for one in each]).view(found.shape[:-2])
        return {"correlation_mcc": sums / features, "correlation_mcc_matched": sums / min(latents, features)}


def _inverse_spread(mean: Tensor, mean_square: Tensor) -> Tensor:
    """1 / standard deviation, 0 where nothing varies."""
    spread = (mean_square - mean.square()).clamp(min=0).sqrt()
    return torch.where(spread > _ROUNDING * mean_square.sqrt(), 1 / spread, 0.0)
