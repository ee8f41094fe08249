"""How true the latents of a dictionary are, on data whose features are known."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection

from ae_lightning.analysis.known_baselines import Baseline
from ae_lightning.data.base import AutoencoderDataModule
from ae_lightning.data.generated import GeneratedDataModule
from ae_lightning.data.loader import seeded_generator
from ae_lightning.errors import ConfigError
from ae_lightning.evaluation.errors import ErrorMeter
from ae_lightning.metrics.absorption import Absorption
from ae_lightning.metrics.correlation import CorrelationMCC
from ae_lightning.metrics.detection import Detection
from ae_lightning.metrics.dictionaries import decoder_cosine
from ae_lightning.metrics.entries import Entries, joined
from ae_lightning.metrics.hedging import Hedging
from ae_lightning.metrics.matching import Matching
from ae_lightning.metrics.recovery import recovery_scores, together
from ae_lightning.metrics.shrinkage import NormRatio, ShrinkageSlope
from ae_lightning.metrics.sparsity import Codes
from ae_lightning.models.base import Autoencoder
from ae_lightning.models.shallow import ShallowAutoencoder
from ae_lightning.models.sparse_dictionary import SparseDictionary
from ae_lightning.models.toy_model import ToyModel
from ae_lightning.nn.modes import evaluation_mode
from ae_lightning.nn.precision import adding_device, like_weights

# The stream of random numbers after those of training and of the three sets.
_FRESH = 4
# What evaluation measures of every model.
_ELSEWHERE = ("fvu", "l0", "dead")


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
        own_truths = Entries.of(y)
        codes, truths = joined(z, own_truths)
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
        return [
            {
                "fvu": math.nan if errors[i]["fvu"] is None else errors[i]["fvu"],
                **{name: float(column[i]) for name, column in flat.items()},
                **recovery_scores(rows[i], directions[i]),
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


def truth_scores(
    coder: ShallowAutoencoder | Baseline,
    data: AutoencoderDataModule,
    samples: int | None = None,
    l0: int | None = None,
) -> dict[str, float]:
    """How true a dictionary's latents are; with instances, means over them.

    Args:
        coder: A model, or a baseline.
        data: Data that know their features, set up.
        samples: How many fresh samples are drawn, always the same ones, of data that are generated; None takes the test
            set.
        l0: Entries of a baseline's codes.

    Returns:
        `fvu`: fraction of variance unexplained; `l0`, `true_l0`: mean number of latents, of truths that fire on a
        sample; `dead`: latents that never did. `mcc_matched`, `uniqueness`, `splitting`, `decoder_cosine`: see
        `ae_lightning.metrics.dictionaries`. `precision`, `recall`, `f1`, `truth_f1`: see `Detection`.
        `correlation_mcc`, `correlation_mcc_matched`: see `CorrelationMCC`. `shrinkage_slope`, `norm_ratio`: see
        `ShrinkageSlope`, `NormRatio`. `absorption`, `absorbed_share`, `absorption_pairs` where there are trees: see
        `Absorption`. `hedging`: see `Hedging`. And what `recovery_scores` says. A number that is not known is NaN.

    Raises:
        ConfigError: The data do not know their features, or fresh samples are asked of data that are not generated.
        ValueError: A baseline is given without `l0`.
    """
    return truth_meter(coder, data, samples, l0).compute()


@torch.no_grad()
def truth_meter(
    coder: ShallowAutoencoder | Baseline,
    data: AutoencoderDataModule,
    samples: int | None = None,
    l0: int | None = None,
) -> TruthMeter:
    """The same for each instance, truth and latent: a meter that has seen the samples.

    Args:
        coder: As `truth_scores` takes it.
        data: As `truth_scores` takes them.
        samples: As `truth_scores` takes it.
        l0: As `truth_scores` takes it.

    Raises:
        ConfigError: As `truth_scores` does.
        ValueError: As `truth_scores` does.
    """
    directions = data.feature_directions
    if directions is None:
        raise ConfigError(f"{type(data).__name__} does not know the features of its samples; take a world's data.")
    if isinstance(coder, Baseline):
        meter = TruthMeter(coder.decoder_rows, directions, data.feature_parents, two_sided=coder.two_sided)
        for x, y in _batches(data, samples, coder.decoder_rows.device):
            if l0 is None:
                raise ValueError("the codes of a baseline need l0, the number of their entries")
            code = coder.encode(x, l0)
            meter.update(code, y, x, coder.decode(code))
        return meter
    meter = TruthMeter(
        coder.writing(coder.decoder_vectors),
        directions,
        data.feature_parents,
        two_sided=not coder.fires_above_zero,
        own=data.instances,
    )
    with evaluation_mode(coder):
        for x, y in _batches(data, samples, coder.device):
            x = like_weights(coder, x)
            z, x_hat = _pass(coder, x)
            meter.update(z, y, coder.flatten(x), x_hat.flatten(x_hat.ndim - len(coder.output_shape)))
    return meter


def _pass(model: ShallowAutoencoder, x: Tensor) -> tuple[Codes, Tensor]:
    """Codes, as indices and values where they are computed so, and reconstructions."""
    if isinstance(model, SparseDictionary) and model.is_sparse and model.decodes_to_data:
        z = model.code(x)
        return z, model.decode(z)
    output = model(x)
    return output.z, output.x_hat


def _batches(data: AutoencoderDataModule, samples: int | None, device: torch.device) -> Iterator[tuple[Tensor, Codes]]:
    """Samples (batch, …), and true features (batch, feature) or (instances, batch, feature), on a device."""
    if samples is None:
        drawn: Iterator[Any] = iter(data.test_set.batches(data.eval_batch_size))
    elif isinstance(data, GeneratedDataModule):
        drawn = _fresh(data, samples, device)
    else:
        raise ConfigError(f"{type(data).__name__} has no fresh samples; measure on its test set.")
    for x, y in drawn:
        y = y.to(device)
        yield x.to(device), y.movedim(1, 0) if isinstance(y, Tensor) and y.ndim > 2 else y


def _fresh(data: GeneratedDataModule, samples: int, device: torch.device) -> Iterator[Any]:
    generator = seeded_generator(data.seed, _FRESH, device=device)
    for start in range(0, samples, data.eval_batch_size):
        yield data.draw(min(data.eval_batch_size, samples - start), generator)


def recovery(model: Autoencoder, data: AutoencoderDataModule) -> list[dict[str, float]]:
    """`truth_scores` of each instance on the test set, but for what `metrics.json` says elsewhere.

    Where a sample's label is not how much there is of each feature, `recovery_scores` alone. Empty where no directions
    are known that the model reads sums of. A toy model is no such model: it makes directions of its own.
    """
    directions = data.feature_directions
    if directions is None or not isinstance(model, ShallowAutoencoder) or isinstance(model, ToyModel):
        return []
    if directions.shape[-1] != model.input_size:
        return []
    if data.test_set.take(1)[1].shape[-1] != directions.shape[-2]:
        rows = model.writing(model.decoder_vectors).detach().cpu()
        return [recovery_scores(own, directions.cpu()) for own in rows.reshape(-1, *rows.shape[-2:])]
    found = truth_meter(model, data).each()
    return [{name: value for name, value in row.items() if name not in _ELSEWHERE} for row in found]


def _of_weights(match: Matching) -> dict[str, Tensor]:
    """What decoder rows alone say beside `recovery_scores`."""
    return {
        "mcc_matched": match.mcc_matched,
        "uniqueness": match.uniqueness,
        "splitting": match.splitting,
        "decoder_cosine": decoder_cosine(match.rows) if match.latents > 1 else torch.tensor(torch.nan),
    }
