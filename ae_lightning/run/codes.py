"""What a model makes of a set: its codes, now and at earlier moments of its training, a batch at a time."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from ae_lightning.data.in_memory import InMemoryDataset
from ae_lightning.metrics.sparsity import FiringDensity
from ae_lightning.models.base import Autoencoder
from ae_lightning.models.shallow import ShallowAutoencoder
from ae_lightning.nn.modes import evaluation_mode
from ae_lightning.nn.precision import like_weights

Model = TypeVar("Model", bound=Autoencoder)

_FEWEST_SAMPLES = 1000

MOST_SAMPLES = 10_000
"""How many samples are encoded at most where they are encoded again and again."""

MOST_ENCODED = 100_000_000
"""How many numbers of codes are made at most for a figure of all moments; of wide codes fewer samples are encoded."""

MOST_MOMENTS = 121
"""Most snapshots that are read; of a longer list so many, evenly spread over it."""


def by_instance(values: Tensor, model: Autoencoder) -> Tensor:
    """Values of a model with the instances first, also where it has none: (…) becomes (1, …)."""
    return values if model.instances is not None else values.unsqueeze(0)


def encode(model: Autoencoder, x: Tensor) -> Tensor:
    """Codes of a batch without gradients, in evaluation mode: (instances, batch, *latent_shape)."""
    with evaluation_mode(model):
        return by_instance(model.encode(like_weights(model, x)), model)


def reconstruct(model: Autoencoder, x: Tensor) -> Tensor:
    """Reconstructions of a batch in the data's units, in evaluation mode: (instances, batch, *output_shape)."""
    with evaluation_mode(model):
        return by_instance(model(like_weights(model, x)).x_hat, model)


def first_batches(dataset: InMemoryDataset, batch_size: int, n: int = MOST_SAMPLES) -> Iterator[Tensor]:
    """The first n samples of a set, in its order, in batches (batch, …)."""
    end = min(n, len(dataset))
    for start in range(0, end, batch_size):
        yield dataset.__getitems__(torch.arange(start, min(start + batch_size, end), device=dataset.device))[0]


def chosen_moments(steps: Sequence[int], most: int = MOST_MOMENTS) -> list[int]:
    """The steps, or so many of them at equal distances in their list, the first and the last among them."""
    places = np.linspace(0, len(steps) - 1, min(most, len(steps))).round().astype(int)
    return [steps[place] for place in places.tolist()]


def at_snapshots(
    model: Model, snapshots: Mapping[int, Mapping[str, Tensor]], steps: Sequence[int]
) -> Iterator[tuple[int, Model]]:
    """The model as it was at each of these steps: always the same copy, whose weights are other ones each time.

    Raises:
        ValueError: A snapshot is not one of this model.
    """
    then = copy.deepcopy(model)
    for step in steps:
        then.restore(snapshots[step])
        yield step, then


def fractions_active(
    model: ShallowAutoencoder,
    snapshots: Mapping[int, Mapping[str, Tensor]],
    steps: Sequence[int],
    dataset: InMemoryDataset,
    batch_size: int,
) -> Tensor:
    """Fraction of the first samples of a set on which each latent was above zero, (moments, instances, latent).

    The samples are the first 10,000, or fewer where there are many moments and latents, see `samples_per_moment`. They
    are made once and kept.

    Args:
        model: The model, which is left as it is.
        snapshots: Its weights by optimizer step.
        steps: The moments.
        dataset: The set.
        batch_size: Samples to encode at once.

    Raises:
        ValueError: A snapshot is not one of this model.
    """
    count = samples_per_moment(len(steps), (model.instances or 1) * model.latent_size)
    batches = list(first_batches(dataset, batch_size, count))
    fractions = []
    for _, then in at_snapshots(model, snapshots, steps):
        density = FiringDensity()
        for x in batches:
            density.update(encode(then, x).cpu())
        fractions.append(density.compute())
    return torch.stack(fractions)


def samples_per_moment(moments: int, latents: int) -> int:
    """How many samples are encoded at each of so many moments: 10,000, or fewer of a wide code, but 1,000 at least.

    A fraction of 1,000 samples is known to 0.016 and better, which a figure does not show.
    """
    return max(_FEWEST_SAMPLES, min(MOST_SAMPLES, MOST_ENCODED // max(moments * latents, 1)))
