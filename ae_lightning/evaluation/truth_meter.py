"""The codes of a dictionary beside the known features of their samples, in all numbers that there are of both."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from ae_lightning.evaluation.errors import ErrorMeter
from ae_lightning.metrics.absorption import Absorption
from ae_lightning.metrics.codes import Codes
from ae_lightning.metrics.correlation import CorrelationMCC
from ae_lightning.metrics.detection import Detection
from ae_lightning.metrics.dictionaries import decoder_cosine
from ae_lightning.metrics.entries import Entries, joined
from ae_lightning.metrics.hedging import Hedging
from ae_lightning.metrics.matching import Matching
from ae_lightning.metrics.recovery import recovery_scores, together
from ae_lightning.metrics.shrinkage import NormRatio, ShrinkageSlope
from ae_lightning.nn.precision import adding_device


class TruthMeter:
    """Compares the codes of a dictionary with the truth, batch by batch; nothing of a sample is kept.

    Args:
        rows: Decoder rows (…, latent, input), as they add to a reconstruction.
        directions: True directions (feature, input), or (…, feature, input).
        parents: The parent (feature,) of each truth, −1 of roots; None where there are no trees.
        two_sided: A latent fires where it is not zero, instead of above it.
        own: Number of instances where each has samples of its own, None where all share them.
    """

    def __init__(
        self,
        rows: Tensor,
        directions: Tensor,
        parents: Tensor | None = None,
        *,
        two_sided: bool = False,
        own: int | None = None,
    ) -> None:
        self._device = adding_device(rows.device)
        rows, directions = rows.detach().to(self._device), directions.to(self._device)
        #: Which latents stand for which truths.
        self.match = Matching.of(rows, directions)
        self._weights = _of_weights(self.match)
        # Evaluation is the first process's own business, also where several trained.
        alone: dict[str, Any] = {"sync_on_compute": False}
        #: Counts of codes and truths that fire.
        self.detection = Detection(self.match, two_sided=two_sided, **alone)
        # Both are made of the same sums, which are kept once.
        both: dict[str, Metric | MetricCollection] = {
            "detection": self.detection,
            "correlation": CorrelationMCC(two_sided=two_sided, **alone),
        }
        self._joint = MetricCollection(both, compute_groups=[list(both)]).to(self._device)
        self._slope = ShrinkageSlope(self.match, **alone).to(self._device)
        self._hedging = Hedging(self.match, **alone).to(self._device)
        self._norms = NormRatio(**alone).to(self._device)
        self._absorption = None
        if parents is not None:
            self._absorption = Absorption(self.match, parents, two_sided=two_sided, **alone).to(self._device)
        self._errors = ErrorMeter(own, self._device)

    def update(self, z: Codes, y: Codes, x: Tensor, x_hat: Tensor) -> None:
        """Add a batch.

        Args:
            z: Codes (…, batch, latent).
            y: True features (batch, feature), or (…, batch, feature) of each instance's own samples.
            x: Samples (batch, input), or (…, batch, input).
            x_hat: Reconstructions (…, batch, input).
        """
        x, x_hat = x.to(self._device), x_hat.to(self._device)
        own_truths = Entries.of(y.to(self._device))
        codes, truths = joined(z.to(self._device), own_truths)
        self._joint.update(codes, truths)
        self._slope.update(codes, truths)
        self._hedging.update(own_truths, x)
        self._norms.update(x, x_hat)
        if self._absorption is not None:
            self._absorption.update(codes, truths)
        self._errors.update(x, x_hat)

    def each(self) -> list[dict[str, float]]:
        """The numbers of each instance, as `truth_scores` answers them; a single entry where there are none."""
        counts = self.detection
        samples = counts.samples.double()
        columns: dict[str, Tensor] = {
            "l0": counts.firings.sum(-1) / samples,
            "true_l0": counts.truth_firings.sum(-1) / samples,
            "dead": (counts.firings == 0).sum(-1),
            **self._weights,
            **self._joint.compute(),
            "shrinkage_slope": self._slope.compute(),
            "norm_ratio": self._norms.compute(),
            **({} if self._absorption is None else self._absorption.compute()),
            "hedging": self._hedging.compute(),
        }
        count = self.match.instances.numel()
        flat = {name: value.reshape(-1).expand(count).tolist() for name, value in columns.items()}
        errors = self._errors.each()
        rows, directions = (part.reshape(count, *part.shape[-2:]) for part in (self.match.rows, self.match.directions))
        mcc = self.match.mcc.reshape(count)
        return [
            {
                "fvu": math.nan if errors[i]["fvu"] is None else errors[i]["fvu"],
                **{name: float(column[i]) for name, column in flat.items()},
                **recovery_scores(rows[i], directions[i], known_mcc=mcc[i]),
            }
            for i in range(count)
        ]

    def compute(self) -> dict[str, float]:
        """Means over instances of what `each` answers."""
        return together(self.each())

    def truths(self) -> dict[str, Tensor]:
        """What is known of each truth, (…, feature), on the CPU; NaN where it is not known.

        Returns:
            `cosine`: |cosine| with its latent in the one-to-one matching, 0 without one; `latent`: that latent, −1
            without one; `precision`, `recall`, `f1`, `detector`: see `Detection.per_truth`; `firings`: samples on which
            it fired; `slope`, `hedging`: see `ShrinkageSlope`, `Hedging`; and where there are trees, of each child
            `absorption`, `absorbed_share`, see `Absorption`.
        """
        found = {
            "cosine": self.match.cosine_of.abs(),
            "latent": self.match.latent_of,
            **self.detection.per_truth(),
            "firings": self.detection.truth_firings,
            "slope": self._slope.per_truth(),
            "hedging": self._hedging.per_truth(),
        }
        if self._absorption is not None:
            found |= {"absorption": self._absorption.rates(), "absorbed_share": self._absorption.shares()}
        return {name: value.cpu() for name, value in found.items()}

    def latents(self) -> dict[str, Tensor]:
        """What is known of each latent, (…, latent), on the CPU.

        Returns:
            `truth`: its best truth, and `cosine` with it; `precision`, `recall`, `f1` as its detector; `firings`.
        """
        found = {
            "truth": self.match.best,
            "cosine": self.match.best_cosine,
            **self.detection.per_latent(),
            "firings": self.detection.firings,
        }
        return {name: value.cpu() for name, value in found.items()}


def _of_weights(match: Matching) -> dict[str, Tensor]:
    """What decoder rows alone say beside `recovery_scores`."""
    return {
        "mcc_matched": match.mcc_matched,
        "uniqueness": match.uniqueness,
        "splitting": match.splitting,
        "decoder_cosine": decoder_cosine(match.rows) if match.latents > 1 else torch.tensor(torch.nan),
    }
