"""Worlds go to SAELens and come from there, and its generator draws from them what is drawn here."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from agreeing import agree, features_of
from safetensors.torch import load_file
from scipy import stats
from torch import Tensor

from ae_lightning.data import World
from ae_lightning.data.worlds.making import Recipe

pytestmark = pytest.mark.slow

SAMPLES = 200_000
ZIPF = {"features": 40, "dim": 16, "probability": "zipf", "exponent": 0.5, "highest": 0.4, "lowest": 0.01, "seed": 7}
THEIRS = {
    **ZIPF,
    "roots": 3,
    "branching": 2,
    "depth": 2,
    "compensation": "approximate",
    "correlation_rank": 3,
    "magnitude_mean": [5.0, 4.0],
    "magnitude_std": 0.5,
    "magnitude_std_spread": 0.5,
    "scale_by_parent": True,
    "offset": 0.5,
}
OURS = {
    "independent": {**ZIPF, "magnitude_mean": [2.0, 1.0], "magnitude_std": 0.5, "compensation": "none"},
    "coupled": {**ZIPF, "correlation_rank": 5, "correlation_scale": 0.3},
    "trees": {**ZIPF, "roots": 3, "branching": 2, "depth": 2, "share": 0.9, "scale_by_parent": True},
}


@pytest.fixture(scope="module")
def answers(
    made_once: Callable[[str, Callable[[Path], object]], Path], run_peer: Callable[..., None]
) -> Callable[[str], tuple[World, dict[str, Tensor]]]:
    """A world of a name, and what SAELens counts in its samples of it."""

    def ask(folder: Path) -> None:
        for name, recipe in OURS.items():
            Recipe(**recipe).world().save(folder / name)
        run_peer("sae_lens", folder, script="sampling_with")

    folder = made_once("worlds", ask)
    return lambda name: (World.load(folder / name), load_file(folder / f"{name}.safetensors"))


def test_a_world_of_theirs_is_ours_at_equal_settings(answers: Callable[..., tuple[World, dict[str, Tensor]]]) -> None:
    theirs, ours = answers("theirs")[0], Recipe(**THEIRS).world()
    # Ours draws directions and the offset from a stream of their own.
    for name in ("chances", "magnitude_means", "magnitude_stds", "parents", "exclusive"):
        assert torch.allclose(getattr(theirs, name), getattr(ours, name), atol=1e-6), name
    assert torch.allclose(theirs.correlation_factor, ours.correlation_factor, atol=1e-6)
    assert theirs.scale_by_parent
    assert theirs.probabilities.tolist() == pytest.approx(ours.probabilities.tolist(), rel=1e-4)


def _within_errors(z: np.ndarray) -> None:
    """Three standard errors hold but for as many as chance allows, the worst of all included."""
    assert np.abs(z).max() < stats.norm.isf(0.00135 / len(z))
    assert (np.abs(z) > 3).sum() <= stats.binom.isf(0.00135, len(z), 0.0027)


def _correlation(together: np.ndarray, one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Correlation of two events from how often they are together and alone, and its standard error with one sample."""
    events = [(present - rate) / np.sqrt(rate * (1 - rate)) for rate in (one, other) for present in (1, 0)]
    cells = (together, one - together, other - together, 1 - one - other + together)
    pairs = [(first, second) for first in events[:2] for second in events[2:]]
    found = sum(part * first * second for part, (first, second) in zip(cells, pairs, strict=True))
    off = (first * second - found * (first**2 + second**2) / 2 for first, second in pairs)
    return found, np.sqrt(sum(part * each**2 for part, each in zip(cells, off, strict=True)))


@pytest.mark.parametrize("name", ["theirs", *OURS])
def test_their_generator_draws_the_same(name: str, answers: Callable[..., tuple[World, dict[str, Tensor]]]) -> None:
    world, theirs = answers(name)
    drawn = features_of(world, SAMPLES, seed=1).double()
    present = (drawn > 0).double()
    rates = world.probabilities.numpy()
    agree(theirs["together"].diagonal(), rates, np.sqrt(rates * (1 - rates) / SAMPLES))
    upper = tuple(np.triu_indices(world.features, 1))
    pairs = [together.numpy()[upper] for together in (theirs["together"], present.T @ present / SAMPLES)]
    mean = (pairs[0] + pairs[1]) / 2
    met = mean * SAMPLES > 20
    z = ((pairs[0] - pairs[1]) / np.sqrt(2 * mean * (1 - mean) / SAMPLES + (~met)))[met]
    _within_errors(z)
    alone = [theirs["together"].diagonal().numpy(), present.mean(0).numpy()]
    found = [_correlation(pair, *(rate[side] for side in upper)) for pair, rate in zip(pairs, alone, strict=True)]
    (their_correlation, their_error), (correlation, error) = ([part[met] for part in each] for each in found)
    _within_errors((their_correlation - correlation) / np.sqrt((their_error**2 + error**2) / SAMPLES))
    assert not pairs[0][mean == 0].any()
    error = (drawn.var(0) * 2 / SAMPLES).sqrt()
    agree(theirs["sums"], drawn.mean(0), error)
    agree(theirs["squares"], drawn.square().mean(0), (drawn.square().var(0) * 2 / SAMPLES).sqrt())
    offset = torch.zeros(world.dim) if world.offset is None else world.offset
    assert torch.allclose(theirs["x"].float(), theirs["sums"].float() @ world.directions + offset, atol=1e-4)
