"""What is counted in samples, and when it agrees with what was asked."""

import numpy as np
import torch
from scipy import stats
from torch import Tensor

from ae_lightning.data.worlds import World
from ae_lightning.data.worlds.sampling import Sampler


def features_of(world: World, samples: int, seed: int) -> Tensor:
    """Features (samples, features) with their zeros."""
    generator = torch.Generator().manual_seed(seed)
    features = Sampler(world, torch.device("cpu")).draw(samples, generator)
    assert bool((features.places.flat.diff() > 0).all())
    assert bool((features.values > 0).all())
    return features.to_dense()


def agree(found: object, asked: object, error: object) -> None:
    """Numbers are what was asked, within three standard errors of their mean, of their spread, and of the worst."""
    z = ((np.asarray(found, float) - np.asarray(asked, float)) / np.asarray(error, float)).ravel()
    assert abs(z.mean()) * z.size**0.5 < 3 * max(1.0, 1.2 * z.std())
    assert abs((z**2).mean() - 1) < 3 * (2 / z.size) ** 0.5 * 1.5 or z.size < 8
    assert np.abs(z).max() < stats.norm.isf(0.00135 / z.size)
