import math

import numpy as np
import pytest
import torch
from scipy import stats

from ae_lightning.data import SparseFeaturesDataModule
from ae_lightning.errors import ConfigError

N = 200_000
#: Where all are rare, what is drawn is the distance from one present feature to the next.
PATHS = {"one by one": [0.1, 0.07, 0.02, 0.0005], "all at once": [0.1, 0.3, 0.02, 1.0]}

both_paths = pytest.mark.parametrize("path", PATHS)


def drawn(n: int = N, seed: int = 0, **options) -> np.ndarray:
    """n samples (n, features), or (n, instances, features), in double precision."""
    data = SparseFeaturesDataModule(**options)
    return data.examples(n, torch.Generator().manual_seed(seed)).double().numpy()


def assert_frequency(present: np.ndarray, probability: float) -> None:
    """Binomial counts lie within 4.5 standard deviations: once in 150,000 tests they do not."""
    n = present.size
    assert abs(present.sum() - n * probability) <= 4.5 * math.sqrt(n * probability * (1 - probability))


# --- features by themselves ----------------------------------------------------------------------------------------


@both_paths
@pytest.mark.parametrize("magnitude", ["uniform", "normal"])
def test_each_feature_is_present_as_often_as_was_asked_for(path, magnitude):
    x = drawn(features=4, probability=PATHS[path], magnitude=magnitude)
    for feature, probability in enumerate(PATHS[path]):
        assert_frequency(x[:, feature] != 0, probability)


@both_paths
def test_magnitudes_are_uniform(path):
    x = drawn(features=4, probability=PATHS[path])
    for values in x.T[:3]:
        assert stats.kstest(values[values > 0], stats.uniform.cdf).pvalue > 1e-4


@pytest.mark.parametrize("path", PATHS)
def test_magnitudes_are_those_of_a_normal_number(path):
    x = drawn(features=4, probability=PATHS[path], magnitude="normal")
    for values in x.T[:3]:
        assert stats.kstest(values[values > 0], stats.halfnorm.cdf).pvalue > 1e-4


@pytest.mark.parametrize("path", PATHS)
def test_magnitudes_are_those_of_a_clipped_normal_number(path):
    """0.5 + 0.2 N within [0, 1]: a truncated normal between, and Φ(−2.5) of all at either end."""
    x = drawn(features=4, probability=PATHS[path], magnitude="clipped_normal")
    values = x.T[0][x.T[0] > 0]
    inside = values[values < 1]
    assert stats.kstest(inside, stats.truncnorm(-2.5, 2.5, 0.5, 0.2).cdf).pvalue > 1e-4
    assert_frequency(values == 1, stats.norm.cdf(-2.5) / stats.norm.cdf(2.5))


def test_how_many_features_are_present_follows_the_binomial_distribution():
    data = SparseFeaturesDataModule(features=3, probability=0.05)
    x = data.draw_features(40_000, 4, torch.Generator().manual_seed(1))  # steps of four samples, drawn in one call
    counts = np.bincount((x > 0).sum((1, 2)).numpy(), minlength=5)
    expected = stats.binom(12, 0.05).pmf(range(4)) * 40_000
    expected = [*expected, 40_000 - expected.sum()]
    assert stats.chisquare([*counts[:4], counts[4:].sum()], expected).pvalue > 1e-4
    first, last = x[:, 0, 0] > 0, x[:, -1, -1] > 0  # no place is favored
    for place in (first, last):
        assert_frequency(place.numpy(), 0.05)


def test_very_rare_features_are_uniform_as_well():
    x = drawn(2_000_000, features=1, probability=0.001)
    values = x[x > 0]
    assert_frequency(x > 0, 0.001)
    assert stats.kstest(values, stats.uniform.cdf).pvalue > 1e-4
    assert len(np.unique(values)) > 0.9 * len(values)  # and not a few values only


@both_paths
def test_features_and_samples_are_independent(path):
    x = drawn(features=4, probability=PATHS[path])
    bound = 5 / math.sqrt(N)
    on = (x[:, :3] > 0).astype(float)
    for values in (x[:, :3], on):  # the fourth is always or hardly ever present
        together = np.corrcoef(values.T)
        assert np.abs(together - np.eye(3)).max() < bound
        following = [np.corrcoef(column[1:], column[:-1])[0, 1] for column in values.T]
        assert np.abs(following).max() < bound
    # Two magnitudes, where both features are present.
    common = x[(x[:, 0] > 0) & (x[:, 1] > 0)]
    assert abs(stats.spearmanr(common[:, 0], common[:, 1]).statistic) < 5 / math.sqrt(len(common))


@pytest.mark.parametrize("magnitude", ["uniform", "normal"])
def test_a_feature_may_be_always_or_never_present(magnitude):
    x = drawn(5000, features=3, probability=[0.0, 1.0, 0.5], magnitude=magnitude)
    assert not x[:, 0].any()
    assert (x[:, 1] > 0).mean() > 0.999  # but for a magnitude that is zero itself
    always = drawn(5000, features=2, probability=1.0, magnitude=magnitude)
    assert (always > 0).mean() > 0.999
    assert not drawn(5000, features=2, probability=0.0, magnitude=magnitude).any()


def test_each_instance_has_samples_of_its_own():
    x = drawn(features=2, probability=0.2, instances=3)
    assert x.shape == (N, 3, 2)
    correlations = np.corrcoef(x.reshape(N, 6).T)
    assert np.abs(correlations - np.eye(6)).max() < 5 / math.sqrt(N)


def test_probabilities_may_differ_by_instance_and_feature():
    table = [[0.1, 0.4], [0.02, 0.9], [0.0, 0.3]]
    x = drawn(features=2, probability=table, instances=3)
    for instance, feature in np.ndindex(3, 2):
        assert_frequency(x[:, instance, feature] > 0, table[instance][feature])
    by_instance = drawn(features=2, probability=[[0.1], [0.6]], instances=2)
    for instance, feature in np.ndindex(2, 2):
        assert_frequency(by_instance[:, instance, feature] > 0, [0.1, 0.6][instance])


@pytest.mark.parametrize(
    "options",
    [
        {"probability": 0.3},
        {"probability": 1.0},
        {"probability": 0.001},
        {"probability": 0.7, "magnitude": "normal"},
        {"probability": 0.7, "magnitude": "clipped_normal"},
        {"probability": 0.3, "correlated": 2, "anticorrelated": 2},
    ],
    ids=str,
)
def test_values_lie_within_the_range_that_was_promised(options):
    low, high = SparseFeaturesDataModule(**options).value_range
    x = drawn(**options)
    assert low == 0
    assert low <= x.min()
    assert x.max() <= high
    assert (high == 1) == (options.get("magnitude") != "normal")


# --- pairs ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("magnitude", ["uniform", "normal"])
@pytest.mark.parametrize("instances", [None, 2])
def test_correlated_features_come_together_with_magnitudes_of_their_own(magnitude, instances):
    x = drawn(features=5, probability=0.2, correlated=4, magnitude=magnitude, instances=instances)
    x = x.reshape(-1, 5)
    on = x > 0
    for first in (0, 2):
        assert np.array_equal(on[:, first], on[:, first + 1])
        assert_frequency(on[:, first], 0.2)
        pair = x[on[:, first]][:, [first, first + 1]]
        assert abs(stats.spearmanr(*pair.T).statistic) < 5 / math.sqrt(len(pair))
        law = stats.uniform if magnitude == "uniform" else stats.halfnorm
        for values in pair.T:
            assert stats.kstest(values, law.cdf).pvalue > 1e-4
    between = np.corrcoef(on[:, [0, 2, 4]].astype(float).T)  # two pairs, and the feature without a partner
    assert np.abs(between - np.eye(3)).max() < 5 / math.sqrt(len(x))


@pytest.mark.parametrize("probability", [0.05, 0.3, 0.5])
@pytest.mark.parametrize("instances", [None, 2])
def test_anticorrelated_features_never_come_together(probability, instances):
    x = drawn(features=5, probability=probability, anticorrelated=4, instances=instances).reshape(-1, 5)
    on = x > 0
    for first, second in ((0, 1), (2, 3)):
        assert not (on[:, first] & on[:, second]).any()
        assert_frequency(on[:, first], probability)
        assert_frequency(on[:, second], probability)
        if probability < 0.5:
            assert_frequency(on[~on[:, first], second], probability / (1 - probability))
        else:  # one of the two is always there, but for a magnitude that is zero
            assert (on[:, first] | on[:, second]).mean() > 0.9999
        values = x[on[:, second], second]
        assert stats.kstest(values, stats.uniform.cdf).pvalue > 1e-4
    between = np.corrcoef(on[:, [0, 3, 4]].astype(float).T)
    assert np.abs(between - np.eye(3)).max() < 5 / math.sqrt(len(x))


def test_correlated_pairs_come_first_then_anticorrelated_ones_then_the_others():
    x = drawn(features=6, probability=[0.3, 0.3, 0.2, 0.2, 0.1, 0.4], correlated=2, anticorrelated=2)
    on = (x > 0).astype(float)
    expected = np.eye(6)
    expected[0, 1] = expected[1, 0] = 1
    expected[2, 3] = expected[3, 2] = -0.2 / 0.8  # −p² / (p (1 − p))
    assert np.abs(np.corrcoef(on.T) - expected).max() < 5 / math.sqrt(N)
    for feature, probability in enumerate([0.3, 0.3, 0.2, 0.2, 0.1, 0.4]):
        assert_frequency(on[:, feature], probability)


def test_pairs_may_have_another_probability_in_each_instance():
    x = drawn(features=2, probability=[[0.1], [0.5]], anticorrelated=2, instances=2)
    for instance, probability in enumerate((0.1, 0.5)):
        on = x[:, instance] > 0
        assert not on.all(1).any()
        assert_frequency(on[:, 0], probability)
        assert_frequency(on[:, 1], probability)


# --- the module ----------------------------------------------------------------------------------------------------


def test_before_setup():
    data = SparseFeaturesDataModule(features=7, instances=3)
    assert data.input_shape == (7,)
    assert data.instances == 3
    assert data.num_classes is None
    assert data.feature_directions is None


def test_batches_have_the_shape_of_samples_and_no_labels():
    for instances, shape in ((None, (1024, 5)), (4, (1024, 4, 5))):
        data = SparseFeaturesDataModule(instances=instances)
        data.setup()
        for batches in (data.train_dataloader(), data.val_dataloader(), data.test_dataloader()):
            x, y = next(iter(batches))
            assert x.shape == shape
            assert x.dtype == torch.float32
            assert y.shape == (1024, 0)


def test_the_distribution_builds_a_module_that_draws_the_same():
    options = {"features": 4, "probability": [0.1, 0.1, 1e-9, 0.7], "magnitude": "normal", "correlated": 2}
    again = SparseFeaturesDataModule(**options).distribution
    assert again["probability"] == options["probability"]
    assert np.array_equal(drawn(100, **options), drawn(100, **again))
    by_instance = SparseFeaturesDataModule(features=2, probability=[[0.1, 0.2], [0.3, 0.4]], instances=2)
    assert by_instance.distribution["probability"] == [0.1, 0.2]


PAIRED = {"features": 4, "correlated": 2, "anticorrelated": 2}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"features": 0}, "--data.features is 0; it must be at least 1."),
        ({"instances": 0}, "--data.instances is 0; it must be at least 1."),
        ({"magnitude": "large"}, "--data.magnitude is 'large'; it can be uniform, normal, clipped_normal."),
        ({"probability": 1.5}, "--data.probability is 1.5 for a feature; it must lie between 0 and 1."),
        ({"probability": math.nan}, "--data.probability is nan for a feature; it must lie between 0 and 1."),
        (
            {"probability": [0.1, 0.1, -0.2, 0.1, 0.1]},
            "--data.probability is -0.2 for a feature; it must lie between 0 and 1.",
        ),
        (
            {**PAIRED, "probability": 0.6},
            "--data.probability is above 0.5 for anticorrelated features, which can be present half of the time at "
            "most, since the two of a pair never are together.",
        ),
        (
            {"correlated": 3},
            "--data.correlated is 3; features come in pairs, so it must be an even number, at least 0.",
        ),
        (
            {"anticorrelated": -2},
            "--data.anticorrelated is -2; features come in pairs, so it must be an even number, at least 0.",
        ),
        (
            {"correlated": 4, "anticorrelated": 2},
            "--data.correlated and --data.anticorrelated ask for 6 paired features, but there are 5.",
        ),
        (
            {**PAIRED, "probability": [0.1, 0.2, 0.3, 0.3]},
            "--data.probability differs within a pair; the two features of a pair have the same.",
        ),
        (
            {**PAIRED, "probability": [0.1, 0.1, 0.2, 0.3]},
            "--data.probability differs within a pair; the two features of a pair have the same.",
        ),
        ({"probability": [0.1, 0.2]}, "--data.probability has 2 numbers for 5 features; give one for each"),
        (
            {"probability": [[0.1], [0.2]], "instances": 3},
            "--data.probability has a list for each of 2 instances, but there are 3 instances",
        ),
        (
            {"probability": [[0.1], [0.2]]},
            "--data.probability has a list for each of 2 instances, but there are no instances",
        ),
    ],
    ids=str,
)
def test_options_out_of_range(options, sentence):
    with pytest.raises(ConfigError) as error:
        SparseFeaturesDataModule(**options)
    assert str(error.value) == sentence


def test_a_pair_may_be_present_more_often_than_half_of_the_time_only_where_it_is_correlated():
    x = drawn(1000, features=4, probability=[0.9, 0.9, 0.5, 0.5], correlated=2, anticorrelated=2)
    assert_frequency(x[:, 0] > 0, 0.9)
