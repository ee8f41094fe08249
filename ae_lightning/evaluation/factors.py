"""How a model's code stands to the factors of its data, where these are known."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ae_lightning.analysis.coder import OneInstance
from ae_lightning.analysis.factor_scores import FEWEST_SAMPLES, factor_scores
from ae_lightning.analysis.latent_space import encode_dataset
from ae_lightning.analysis.pca import Array
from ae_lightning.data.base import AutoencoderDataModule
from ae_lightning.data.loader import seeded_generator
from ae_lightning.evaluation.baselines import Baselines
from ae_lightning.evaluation.instances import means_of
from ae_lightning.models.base import Autoencoder
from ae_lightning.training.batch import labels_of

MOST_SAMPLES = 10_000
"""Test samples that are measured at most, drawn at random, always the same ones."""

# Numbers in their codes, 256 MB: of wider codes fewer samples are measured.
_MOST_NUMBERS = 2**26


class CodesAndFactors(NamedTuple):
    """Codes of some samples, and the values of their factors.

    Args:
        codes: Codes (n, latents), float32.
        factors: Numbers of the values (n, factors), int64.
    """

    codes: Array
    factors: Array


def codes_and_factors(model: Autoencoder, data: AutoencoderDataModule, instance: int | None = None) -> CodesAndFactors:
    """Codes of the test samples, of at most 10,000 drawn at random, with the values of their factors.

    Args:
        model: The model.
        data: Data that know their factors, set up.
        instance: Which instance of a model that has several.
    """
    coder = model if instance is None else OneInstance(model, instance)
    codes, factors = encode_dataset(coder, _batches(data, model.latent_size))
    return CodesAndFactors(codes.flatten(1).numpy(), factors.numpy())


def scores_of_factors(model: Autoencoder, data: AutoencoderDataModule) -> list[dict[str, Any]]:
    """How the code stands to the factors, of each instance; one entry of a model without, none where none are known.

    Samples of each instance's own have no factors here, and neither have sets of fewer than 100 test samples.

    Args:
        model: The model.
        data: Its data, set up.

    Returns:
        The numbers of `FactorScores.overall`; `samples`, how many were measured; and under `each`, by the name of the
        factor, `mig`, `sap`, `completeness` and `informativeness`.
    """
    if not data.factors or data.instances is not None or len(data.test_set) < FEWEST_SAMPLES:
        return []
    instances: Sequence[int | None] = [None] if model.instances is None else range(model.instances)
    return [_scores(codes_and_factors(model, data, instance), data) for instance in instances]


def scores_of_components(baselines: Baselines, data: AutoencoderDataModule) -> dict[str, float]:
    """The same over all factors for the principal components that stand beside a model; empty of data with targets.

    Args:
        baselines: The components.
        data: Data of which `scores_of_factors` has an answer.
    """
    if data.test_set.target is not None:
        return {}
    batches = [(baselines.codes(x), y) for x, y in _batches(data, baselines.components)]
    codes, factors = (torch.cat(part).numpy() for part in zip(*batches, strict=True))
    return factor_scores(codes, factors, _ordered(data)).overall


def mean_scores(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over instances of what `scores_of_factors` answers; empty of no rows."""
    if not rows:
        return {}
    each = {name: means_of([row["each"][name] for row in rows]) for name in rows[0]["each"]}
    overall = means_of([{name: row[name] for name in row if name not in ("samples", "each")} for row in rows])
    return {**overall, "samples": rows[0]["samples"], "each": each}


def _batches(data: AutoencoderDataModule, width: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The test samples that are measured in a code of so many latents, and their factors."""
    most = min(MOST_SAMPLES, max(FEWEST_SAMPLES, _MOST_NUMBERS // width))
    drawn = data.test_set.drawn(most, seeded_generator(0))
    return ((x, labels_of(y).cpu()) for x, y, *_ in drawn.batches(data.eval_batch_size))


def _ordered(data: AutoencoderDataModule) -> list[bool]:
    return [factor.is_ordered for factor in data.factors]


def _scores(read: CodesAndFactors, data: AutoencoderDataModule) -> dict[str, Any]:
    found = factor_scores(read.codes, read.factors, _ordered(data))
    each = {
        data.factors[factor].name: {name: float(column[place]) for name, column in found.each.items()}
        for place, factor in enumerate(found.factors)
    }
    return {**found.overall, "samples": len(read.codes), "each": each}
