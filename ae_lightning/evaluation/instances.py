"""The numbers of a population, each of its instances alone: models that were trained side by side."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from ae_lightning.analysis.spectrum import weight_statistics
from ae_lightning.evaluation.errors import ErrorMeter
from ae_lightning.models.base import Autoencoder
from ae_lightning.models.shallow import ShallowAutoencoder
from ae_lightning.models.sparse_dictionary import SparseDictionary

Meters = Mapping[str, Mapping[str, ErrorMeter]]
"""Errors by set, such as `test`, and by what they are of: `autoencoder`, `mean_image` or `pca`."""


def rows_of(
    model: Autoencoder,
    errors: Meters,
    latents: Sequence[Mapping[str, Any]],
    recovery: Sequence[Mapping[str, float]],
    weights: Sequence[Mapping[str, float]],
    factors: Sequence[Mapping[str, Any]] = (),
) -> list[dict[str, Any]]:
    """What `metrics.json` lists as `instances`; empty of a model without any.

    Args:
        model: The model.
        errors: What was measured on each set. Of a baseline that all instances share nothing is said here.
        latents: What `LatentMeter.each` answers.
        recovery: `recovery_scores` of each instance; empty where no true features are known.
        weights: `weight_statistics` of each instance; empty of models that are not shallow.
        factors: What `scores_of_factors` answers.

    Returns:
        For each `instance`, counted from 0, its `settings` that others do not share, and under the names that means
        over instances have in `metrics.json` its own numbers: `model` (`penalties`, `asked_l0`), `errors`, `latents`,
        `recovery`, `weights` and `factors`.
    """
    if model.instances is None:
        return []
    measured = {split: {name: meter.each() for name, meter in of.items()} for split, of in errors.items()}

    def errors_of(i: int) -> dict[str, dict[str, Any]]:
        return {
            split: {name: each[i] for name, each in of.items() if len(each) == model.instances}
            for split, of in measured.items()
        }

    return [
        {
            "instance": i,
            "settings": settings,
            "model": {"penalties": penalties(model, i), "asked_l0": _asked_l0(model, settings)},
            "errors": errors_of(i),
            "latents": latents[i],
            "recovery": recovery[i] if recovery else {},
            "weights": weights[i] if weights else {},
            "factors": factors[i] if factors else {},
        }
        for i, settings in enumerate(model.instance_settings)
    ]


def weights_of_each(model: Autoencoder) -> list[dict[str, float]]:
    """`weight_statistics` of each instance, one of a model without instances; empty of models that are not shallow."""
    if not isinstance(model, ShallowAutoencoder):
        return []
    sides = (model.encoder_vectors, model.decoder_vectors)
    rows = (vectors.reshape(-1, *vectors.shape[-2:]) for vectors in sides)
    return [weight_statistics(encoder, decoder) for encoder, decoder in zip(*rows, strict=True)]


def means_of(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Means of numbers of the same names; empty of no rows."""
    return {name: math.fsum(row[name] for row in rows) / len(rows) for name in (rows[0] if rows else ())}


def penalties(model: Autoencoder, instance: int | None = None) -> dict[str, float]:
    """Weights of the terms beside the reconstruction that are not 0: of an instance, or means over them."""

    def of(weight: Any) -> float:
        values = torch.as_tensor(weight)
        return float(values[instance] if instance is not None and values.ndim else values.double().mean())

    weights = {name: of(weight) for name, weight in model.loss_weights.items() if name != "reconstruction"}
    return {name: weight for name, weight in weights.items() if weight}


def _asked_l0(model: Autoencoder, settings: Mapping[str, Any]) -> dict[str, float]:
    """Options that say how many latents shall be active, as an instance has them."""
    asked = model.asked_l0 if isinstance(model, SparseDictionary) else {}
    return {option: settings.get(option, number) for option, number in asked.items()}
