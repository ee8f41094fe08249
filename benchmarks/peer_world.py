"""Samples for the benchmark beside other libraries, in files that each process reads."""

from pathlib import Path

import numpy as np


def write_noise(folder: Path, inputs: int, samples: int) -> Path:
    """Normal samples, and a few more for validation; what a step takes depends on their number and width alone."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "x.npy", rng.standard_normal((samples, inputs), dtype=np.float32))
    np.save(folder / "val.npy", rng.standard_normal((1024, inputs), dtype=np.float32))
    return folder / "x.npy"


def write_world(folder: Path, inputs: int, features: int, active: float, samples: int, held_out: int) -> Path:
    """Sparse sums of known directions: training samples, and `val.npy`, held out.

    Each feature has a random direction of norm 1 and fires by itself, with a probability that falls with its rank by
    Zipf's law and is at most one half; where it fires its magnitude is 1 plus an exponential number. A hundredth of the
    variance is noise. Samples have mean 0 and mean norm √inputs, as dictionaries want them.

    Args:
        folder: Where the files go.
        inputs: Numbers in a sample.
        features: Directions.
        active: Features of a sample in the mean.
        samples: Training samples.
        held_out: Samples held out.
    """
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((features, inputs))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    chance = probabilities(features, active)
    parts = []
    for start in range(0, samples + held_out, 8192):
        count = min(8192, samples + held_out - start)
        fires = rng.random((count, features), dtype=np.float32) < chance
        magnitudes = np.where(fires, 1 + rng.standard_exponential((count, features), dtype=np.float32), 0)
        parts.append((magnitudes @ directions).astype(np.float32))
    x = np.concatenate(parts)
    x -= x[:samples].mean(0)
    x += 0.1 * x[:samples].std() * rng.standard_normal(x.shape, dtype=np.float32)
    x *= np.sqrt(inputs) / np.linalg.norm(x[:samples], axis=1).mean()
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "x.npy", x[:samples])
    np.save(folder / "val.npy", x[samples:])
    return folder / "x.npy"


def probabilities(features: int, active: float) -> np.ndarray:
    """Of each feature to fire: as its rank to the power of -1, at most one half, and `active` in sum."""
    chance = 1 / np.arange(1, features + 1)
    for _ in range(50):  # what is cut off goes to the others
        chance = np.minimum(chance * active / chance.sum(), 0.5)
    return chance
