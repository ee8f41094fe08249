"""How like the data the samples are that a trained decoder makes of random codes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ae_lightning.analysis.latent_space import sample_batches
from ae_lightning.analysis.pca import chunks, fit_pca
from ae_lightning.analysis.sample_quality import NEIGHBORS, frechet_distance, kernel_distance, neighborhoods
from ae_lightning.analysis.sampler_names import MEASURED
from ae_lightning.analysis.samplers import Sampler
from ae_lightning.data.in_memory import InMemoryDataset
from ae_lightning.data.loader import seeded_generator
from ae_lightning.errors import ConfigError
from ae_lightning.evaluation.label_classifier import label_classifier
from ae_lightning.gallery import Gallery
from ae_lightning.nn.modes import evaluation_mode

_COMPONENTS = 50
# Training samples that the components are fitted to, and numbers in them: 128 MB.
_MOST_FITTED = 10_000
_MOST_NUMBERS = 1 << 25
# Samples, and numbers in them, that features are made of at a time.
_CHUNK = 1024
_CHUNK_NUMBERS = 1 << 22
# Streams of random numbers that choose what the components are fitted to, and what samples are compared with.
_FITTED, _REAL, _HELD_OUT = range(3)

Features = Callable[[Tensor], Tensor]


def sample_quality(
    gallery: Gallery,
    sampler: Sampler,
    samples: int = MEASURED,
    seed: int = 0,
    classifiers: Path | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Compare generated samples with training samples, and beside them the test set with the same training samples.

    There are as many of each, since most of the numbers depend on how many there are. The features of all but
    `classifier_fd` are the leading 50 principal components of training samples, divided by one number, their root mean
    square. Those of `classifier_fd` are what the last hidden layer of a `LabelClassifier` gives.

    Args:
        gallery: The model and its data.
        sampler: What draws the codes, such as `gallery.sampler("gmm")`.
        samples: How many samples are generated; fewer where the training or the test set has fewer.
        seed: Seed of the draws.
        classifiers: Folder in which trained classifiers are kept; by default `classifiers` in the folder of the data.
        tell: Called with what is done where it takes a while.

    Returns:
        `samples`: how many there are of each. `sampler`: what the codes were drawn from. `seed`. `features`: of the
        principal components their number and the part of the variance that they hold. `neighbors`: k of
        `neighborhoods`. `scores`: for `generated` and for `test_set` each `precision`, `recall`, `density`, `coverage`,
        `kernel_distance` and, where the data have labels, `classifier_fd`. `classifier`: its `test_accuracy`, and
        `file`; None without labels, with `classifier_reason` beside it.

    Raises:
        ConfigError: The model makes no samples of the data, they are not finite, or there are too few.
        CheckpointError: A kept classifier is damaged.
        DataError: A classifier cannot be kept.
    """
    model, data = gallery.model, gallery.data
    train, test = gallery.train_set, gallery.test_set
    if not model.decodes_to_data or train.target is not None:
        raise ConfigError(f"what {type(model).__name__} decodes is no sample of the data, so there is none to measure")
    count = min(samples, len(train), len(test))
    sets: dict[str, Callable[[], Iterable[Tensor]]] = {
        "train": lambda: _drawn(train, count, _REAL),
        "test_set": lambda: _drawn(test, count, _HELD_OUT),
        "generated": lambda: sample_batches(gallery.generator, count, sampler, seed),
    }
    tell(f"comparing {count:,} samples with as many training samples")
    components, about = _principal_components(train)
    by_components = _features_of(sets, components)
    try:
        scores = {name: _scores(by_components["train"], by_components[name]) for name in ("generated", "test_set")}
    except ValueError as error:
        raise ConfigError(f"the samples cannot be measured: {error}") from error
    result: dict[str, Any] = {
        "samples": count,
        "sampler": sampler.description,
        "seed": seed,
        "features": about,
        "neighbors": NEIGHBORS,
        "scores": scores,
        "classifier": None,
    }
    if data.num_classes is None:
        return result | {"classifier_reason": "the data have no class labels"}
    folder = data.kept_in / "classifiers" if classifiers is None else classifiers
    tell(f"using the classifier of labels in {folder}, which is trained there if it is not yet")
    classifier = label_classifier(train, test, data.num_classes, folder)
    with evaluation_mode(classifier.model):
        by_classifier = _features_of(sets, classifier.model.features)
    for name, numbers in scores.items():
        numbers["classifier_fd"] = frechet_distance(by_classifier["train"], by_classifier[name])
    return result | {"classifier": {"test_accuracy": classifier.accuracy, "file": str(classifier.path)}}


def _scores(real: Tensor, others: Tensor) -> dict[str, float]:
    return {**neighborhoods(real, others)._asdict(), "kernel_distance": kernel_distance(real, others)}


def _features_of(sets: dict[str, Callable[[], Iterable[Tensor]]], features: Features) -> dict[str, Tensor]:
    """Features (n, width) of each set, of which some samples are in memory at a time."""
    return {name: torch.cat([features(x) for x in batches()]) for name, batches in sets.items()}


def _principal_components(train: InMemoryDataset) -> tuple[Features, dict[str, Any]]:
    """Coordinates along the leading principal components, on one scale, and what is to be said of them."""
    size = math.prod(train.sample_shape)
    fitted = train.drawn(max(2, min(_MOST_FITTED, _MOST_NUMBERS // size)), seeded_generator(_FITTED))
    rows = np.empty((len(fitted), size), dtype=np.float32)
    start = 0
    for x in _batches(fitted):
        rows[start : start + len(x)] = x.flatten(1).numpy()
        start += len(x)
    try:
        pca = fit_pca(rows, _COMPONENTS)
    except ValueError as error:
        raise ConfigError(f"the samples cannot be measured: {error}") from error
    coordinates = pca.encode(rows)
    scale = float(np.sqrt(np.mean(np.square(coordinates), dtype=np.float64))) or 1.0
    held = float(np.square(coordinates, dtype=np.float64).sum())
    total = sum(float(np.square(chunk - pca.mean, dtype=np.float64).sum()) for chunk in chunks(rows))
    about = {
        "principal_components": coordinates.shape[1],
        "explained_variance": held / total if total else None,
        "fitted_to": len(rows),
    }
    return lambda x: torch.from_numpy(pca.encode(x.flatten(1)) / scale), about


def _drawn(dataset: InMemoryDataset, count: int, stream: int) -> Iterable[Tensor]:
    return _batches(dataset.drawn(count, seeded_generator(0, stream)))


def _batches(dataset: InMemoryDataset) -> Iterable[Tensor]:
    at_once = max(1, min(_CHUNK, _CHUNK_NUMBERS // math.prod(dataset.sample_shape)))
    return (x.cpu() for x, *_ in dataset.batches(at_once))
