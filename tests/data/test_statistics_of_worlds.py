"""Samples of a world have the frequencies, correlations, trees, magnitudes and overlaps that were asked for."""

import numpy as np
import pytest
import torch
from agreeing import agree, features_of
from scipy import stats

from ae_lightning.data.worlds import World
from ae_lightning.data.worlds.directions import largest_overlaps
from ae_lightning.data.worlds.making import Recipe

SEEDS = (0, 1, 2)
SIZES = [20_000, pytest.param(400_000, marks=pytest.mark.slow)]
ZIPF = {"features": 40, "dim": 16, "probability": "zipf", "exponent": 0.5, "highest": 0.4, "lowest": 0.01}
TREES = {**ZIPF, "roots": 3, "branching": 2, "depth": 2, "share": 0.9}
SOFT = {"magnitude_mean": [2.0, 1.0], "magnitude_std": 1.0}
KINDS = {
    "constant": {**ZIPF, "probability": "constant"},
    "linear": {**ZIPF, "probability": "linear"},
    "zipf": ZIPF,
    "given": {**ZIPF, "probability": np.linspace(0, 1, 40).tolist()},
    "magnitudes that are cut": {**ZIPF, **SOFT},
    "coupled": {**ZIPF, "correlation_rank": 5, "correlation_scale": 0.3},
    "trees": {**TREES, **SOFT},
    "trees that overlap": {**TREES, "exclusive": False},
    "coupled trees": {**TREES, "share": 0.6, "correlation_rank": 5, "correlation_scale": 0.1},
}


def standard_error(probability: np.ndarray, samples: int) -> np.ndarray:
    return np.sqrt(probability * (1 - probability) / samples)


def asked(recipe: Recipe) -> np.ndarray:
    """Probabilities by the formulas of the issue's options, written out again."""
    if isinstance(recipe.probability, list):
        return np.array(recipe.probability)
    rank = np.arange(1, recipe.features + 1)
    part = {
        "constant": np.ones(recipe.features),
        "linear": 1 - (rank - 1) / (recipe.features - 1),
        "zipf": (rank**-recipe.exponent - rank[-1] ** -recipe.exponent) / (1 - rank[-1] ** -recipe.exponent),
    }[recipe.probability]
    return recipe.lowest + (recipe.highest - recipe.lowest) * part


@pytest.mark.parametrize("samples", SIZES)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("kind", KINDS)
def test_features_are_as_frequent_as_asked(kind: str, seed: int, samples: int) -> None:
    recipe = Recipe(**KINDS[kind], seed=seed)
    world = recipe.world()
    wanted = asked(recipe)
    assert world.mean_l0 == pytest.approx(wanted.sum(), rel=1e-3)
    rates = (features_of(world, samples, seed) > 0).double().mean(0).numpy()
    certain = (wanted == 0) | (wanted == 1)
    assert np.array_equal(rates[certain], wanted[certain])
    agree(rates[~certain], wanted[~certain], standard_error(wanted, samples)[~certain])


@pytest.mark.parametrize("samples", SIZES)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("given", [False, True])
def test_pairs_are_together_as_often_as_two_correlated_normal_numbers_are_large(
    given: bool, seed: int, samples: int
) -> None:
    features, triples = 8, [[0, 1, 0.9], [2, 3, -0.9], [4, 5, 0.5]]
    how = {"correlations": triples} if given else {"correlation_rank": 2, "correlation_scale": 0.5}
    world = Recipe(features, 4, "linear", highest=0.6, lowest=0.05, seed=seed, **how).world()
    present = (features_of(world, samples, seed) > 0).double()
    edges = stats.norm.isf(np.linspace(0.6, 0.05, features))
    pairs = [(i, j) for i in range(features) for j in range(i)]
    correlations = [float(world.correlated_with(i)[j]) for i, j in pairs]
    if given:
        expected = {(j, i): r for i, j, r in triples}
        assert correlations == pytest.approx([expected.get(pair, 0.0) for pair in pairs], abs=1e-6)
    together = np.array(
        [
            stats.multivariate_normal([0, 0], [[1, r], [r, 1]]).cdf([-edges[i], -edges[j]])
            for (i, j), r in zip(pairs, correlations, strict=True)
        ]
    )
    found = [float((present[:, i] * present[:, j]).mean()) for i, j in pairs]
    z = (np.array(found) - together) / standard_error(together, samples)
    assert np.abs(z).max() < stats.norm.isf(0.00135 / len(pairs))


@pytest.mark.parametrize("samples", SIZES)
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("exclusive", [False, True])
def test_children_need_their_parents_and_siblings_exclude_each_other(exclusive: bool, seed: int, samples: int) -> None:
    recipe = Recipe(**TREES, exclusive=exclusive, seed=seed)
    world, wanted = recipe.world(), asked(recipe)
    present = features_of(world, samples, seed) > 0
    children = (world.parents >= 0).nonzero().flatten()
    parents = world.parents[children]
    assert len(children) == 3 * (2 + 4)
    assert int(world.depth.max()) == 2
    assert not bool((present[:, children] & ~present[:, parents]).any())
    with_parent = present[:, parents].sum(0).numpy()
    rates = present[:, children].sum(0).numpy() / with_parent
    conditional = wanted[children] / wanted[parents]
    agree(rates, conditional, np.sqrt(conditional * (1 - conditional) / with_parent))
    siblings = [(i, j) for i in children.tolist() for j in range(i) if world.parents[i] == world.parents[j]]
    together = torch.stack([present[:, i] & present[:, j] for i, j in siblings]).sum(1)
    assert bool((together == 0).all()) == exclusive


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(
    ("law", "std", "moments"),
    [
        ("normal", 1.0, lambda mean: stats.truncnorm(-mean, np.inf, mean, 1.0)),
        ("folded_normal", 1.0, lambda mean: stats.foldnorm(mean)),
        ("exponential", 0.0, lambda mean: stats.expon(scale=mean)),
    ],
)
def test_magnitudes_follow_their_law(law: str, std: float, moments: object, seed: int) -> None:
    world = Recipe(20, 8, highest=0.3, magnitude=law, magnitude_mean=[2.0, 0.5], magnitude_std=std, seed=seed).world()
    drawn = features_of(world, 20_000, seed).double().numpy()
    values = [column[column > 0] for column in drawn.T]
    truth = [moments(mean) for mean in np.linspace(2.0, 0.5, 20)]  # type: ignore[operator]
    sizes = np.array([len(column) for column in values])
    agree([v.mean() for v in values], [t.mean() for t in truth], [t.std() for t in truth] / np.sqrt(sizes))
    assert min(stats.kstest(v, t.cdf).pvalue for v, t in zip(values, truth, strict=True)) > 0.00135 / 20


@pytest.mark.parametrize("seed", SEEDS)
def test_children_are_scaled_by_their_parents(seed: int) -> None:
    recipe = Recipe(2, 2, [0.5, 0.2], parents=[-1, 0], magnitude_mean=4.0, magnitude_std=0.5, scale_by_parent=True)
    drawn = features_of(recipe.world(), 20_000, seed).double()
    parent, child = drawn[drawn[:, 1] > 0].T
    own = child / (parent / 4.0)
    error = 0.5 / len(own) ** 0.5
    assert abs(float(own.mean()) - 4.0) < 3 * error
    assert abs(float(own.std()) - 0.5) < 3 * error
    assert abs(float(torch.corrcoef(torch.stack((own, parent)))[0, 1])) < 3 / len(own) ** 0.5


@pytest.mark.parametrize("seed", SEEDS)
def test_deviations_of_magnitudes_are_folded_normal(seed: int) -> None:
    world = Recipe(2000, 2, magnitude_mean=3.0, magnitude_std=0.5, magnitude_std_spread=0.5, seed=seed).world()
    assert stats.kstest(world.magnitude_stds, stats.foldnorm(1.0, scale=0.5).cdf).pvalue > 0.00135


@pytest.mark.parametrize("overlap", [0.45, 0.4, 0.3])
@pytest.mark.parametrize("seed", SEEDS)
def test_directions_overlap_as_asked(overlap: float, seed: int) -> None:
    directions = Recipe(128, 32, overlap=overlap, seed=seed).world().directions
    cosines = (directions @ directions.mT).abs().fill_diagonal_(0)
    assert torch.allclose(directions.norm(dim=1), torch.ones(128), atol=1e-6)
    assert float(cosines.amax(1).mean()) == pytest.approx(overlap, rel=2e-3)
    assert torch.allclose(largest_overlaps(directions), cosines.amax(1), atol=1e-6)


def test_without_an_overlap_directions_are_random() -> None:
    directions = Recipe(500, 64).world().directions
    cosines = (directions @ directions.mT)[tuple(torch.triu_indices(500, 500, 1))].double()
    # The square of a cosine of random directions is Beta(1/2, 63/2).
    assert stats.kstest(cosines[::7].square(), stats.beta(0.5, 31.5).cdf).pvalue > 0.00135


def test_the_correlations_that_approximate_compensation_forgets() -> None:
    """By hand: a parent of 1/2 with two exclusive children of 1/4 gives each the chance 1/2 · (1 + 1/2) = 3/4."""
    world = Recipe(3, 2, [0.5, 0.25, 0.25], parents=[-1, 0, 0], compensation="approximate").world()
    assert world.chances.tolist() == [0.5, 0.75, 0.75]
    # 3/4 · (1/4 + 3/4 · 1/2) = 15/32, half of which remains.
    assert world.probabilities.tolist() == pytest.approx([0.5, 15 / 64, 15 / 64])
    exact = Recipe(3, 2, [0.5, 0.2, 0.1], parents=[-1, 0, 0]).world()
    # q1 (1 − q2 / 2) = 2/5 and q2 (1 − q1 / 2) = 1/5: their difference is 1/5.
    q2 = 0.9 - (0.81 - 0.4) ** 0.5
    assert exact.chances.tolist() == pytest.approx([0.5, q2 + 0.2, q2], rel=1e-3)


def test_what_a_world_says_of_itself() -> None:
    world = Recipe(**KINDS["coupled trees"]).world()
    assert isinstance(world, World)
    assert world.features == 40
    assert world.dim == 16
    assert (world.depth == 0).sum() == 40 - 18
    assert float(world.overlaps.max()) < 1
    assert float(world.correlated_with(3)[3]) == 1
