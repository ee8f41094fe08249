"""How true the latents of a dictionary are, on data whose features are known."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from ae_lightning.analysis.known_baselines import Baseline
from ae_lightning.data.base import AutoencoderDataModule
from ae_lightning.data.generated import GeneratedDataModule
from ae_lightning.data.loader import seeded_generator
from ae_lightning.errors import ConfigError
from ae_lightning.evaluation.truth_meter import TruthMeter
from ae_lightning.metrics.codes import Codes
from ae_lightning.metrics.recovery import recovery_scores
from ae_lightning.models.base import Autoencoder
from ae_lightning.models.shallow import ShallowAutoencoder
from ae_lightning.models.sparse_dictionary import SparseDictionary
from ae_lightning.models.toy_model import ToyModel
from ae_lightning.nn.modes import evaluation_mode
from ae_lightning.nn.precision import like_weights
from ae_lightning.nn.sparse_code import Places, SparseCode
from ae_lightning.training.batch import instances_first

# The stream of random numbers after those of training and of the three sets.
_FRESH = 4
# What evaluation measures of every model.
_ELSEWHERE = ("fvu", "l0", "dead")


def truth_scores(
    coder: ShallowAutoencoder | Baseline,
    data: AutoencoderDataModule,
    samples: int | None = None,
    l0: int | None = None,
) -> dict[str, float]:
    """How true a dictionary's latents are; with instances, means over them.

    Args:
        coder: A model, or a baseline; where each instance has samples of its own, a baseline sees those of all.
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
    return measure_truth(coder, data, samples, l0).compute()


@torch.no_grad()
def measure_truth(
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
            x, y = instances_first(x, len(data.input_shape)).flatten(0, -2), _flat(y)
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


def _flat(y: Codes) -> Codes:
    """True features (samples, feature), of instances too."""
    if isinstance(y, Tensor):
        return y.flatten(0, -2)
    width = y.shape[-1]
    return SparseCode(y.values, Places(y.places.latents % width, y.places.offsets, (y.shape[:-1].numel(), width)))


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
    if directions.shape[-1] != model.input_size or model.needs_targets:
        return []
    if data.test_set.take(1)[1].shape[-1] != directions.shape[-2]:
        rows = model.writing(model.decoder_vectors).detach().cpu()
        return [recovery_scores(own, directions.cpu()) for own in rows.reshape(-1, *rows.shape[-2:])]
    found = measure_truth(model, data).each()
    return [{name: value for name, value in row.items() if name not in _ELSEWHERE} for row in found]
