"""Intervals and paired differences, against scipy's own tests and values worked out by hand."""

import math

import numpy as np
import pytest
from scipy import stats

from ae_lightning.analysis.paired import differences, holm, interval, paired_p


def test_an_interval_is_that_of_students_t():
    values = [0.61, 0.64, 0.58, 0.7, 0.66]
    low, high = stats.t.interval(0.95, 4, np.mean(values), stats.sem(values))
    found = interval(values)
    assert found.mean == pytest.approx(np.mean(values))
    assert (found.mean - found.half, found.mean + found.half) == pytest.approx((low, high))
    assert found.seeds == 5


def test_one_number_has_no_interval_and_those_that_are_not_known_do_not_count():
    assert interval([0.5])[::2] == (0.5, 1)
    assert math.isnan(interval([0.5]).half)
    assert math.isnan(interval([]).mean)
    assert interval([1.0, math.nan, 3.0]) == pytest.approx((2.0, 12.7062, 2), abs=1e-4)  # t of one degree is 12.7062


def test_p_is_that_of_scipys_paired_test():
    generator = np.random.default_rng(0)
    one, other = generator.normal(0.6, 0.1, 6), generator.normal(0.5, 0.1, 6)
    assert paired_p(one - other) == pytest.approx(stats.ttest_rel(one, other).pvalue)
    assert paired_p([1.0, 3.0]) == pytest.approx(2 * (0.5 - math.atan(2) / math.pi))  # t = 2, of Cauchy's distribution


def test_p_where_there_is_no_noise():
    assert paired_p([0.25, 0.25, 0.25]) == 0.0
    assert paired_p([0.0, 0.0]) == 1.0
    assert math.isnan(paired_p([0.3]))


def test_holm_by_hand():
    # 4 · 0.01, 3 · 0.02, 2 · 0.03 and 1 · 0.04, which may not be below the one before it
    assert holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    corrected = holm([0.02, math.nan, 0.03])
    assert corrected[::2] == pytest.approx([0.04, 0.04])
    assert math.isnan(corrected[1])


def test_pairs_share_seeds_and_the_correction_counts_all_families():
    values = {"a": {0: 0.9, 1: 0.8, 2: 0.85, 7: 0.0}, "b": {0: 0.5, 1: 0.41, 2: 0.44, 3: 1.0}}
    alone = differences([values])[0][0]
    assert (alone.one, alone.other, alone.seeds) == ("a", "b", 3)
    assert alone.mean == pytest.approx((0.4 + 0.39 + 0.41) / 3)
    assert alone.corrected == alone.p == pytest.approx(stats.ttest_rel([0.9, 0.8, 0.85], [0.5, 0.41, 0.44]).pvalue)
    assert alone.is_outside_noise
    twice = differences([values, {"c": {0: 1.0, 1: 3.0}, "d": {0: 2.0, 1: 2.5}}])
    assert twice[0][0].corrected == pytest.approx(2 * alone.p)
    assert (twice[1][0].one, twice[1][0].other) == ("d", "c")
    assert not twice[1][0].is_outside_noise


def test_a_single_seed_tells_nothing():
    (found,) = differences([{"a": {0: 0.9}, "b": {0: 0.1}}])[0]
    assert math.isnan(found.corrected)
    assert not found.is_outside_noise
