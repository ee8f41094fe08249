"""Importance against what it says it is: the units switched off one by one, and scipy's ranks."""

from itertools import pairwise

import numpy as np
import pytest
import scipy.stats
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ae_lightning.analysis.importance import (
    ablation_importance,
    causal_importance,
    error_by_removal,
    order,
    rank_correlation,
    unit_importance,
)

NUMBERS = st.one_of(st.just(0.0), st.floats(-8, 8, width=32))


@st.composite
def models(draw):
    """Samples, codes, decoder and bias of a linear model."""
    n, latent, width = (draw(st.integers(1, high)) for high in (6, 4, 5))
    shapes = [(n, width), (n, latent), (latent, width), (width,)]
    return [torch.from_numpy(draw(arrays(np.float32, shape, elements=NUMBERS))) for shape in shapes]


def error(x, z, vectors, bias, without=()):
    codes = z.double().clone()
    codes[:, list(without)] = 0
    return float((x.double() - codes @ vectors.double() - bias.double()).square().mean())


@given(models())
def test_causal_importance_is_what_is_lost_without_each_unit(parts):
    whole = error(*parts)
    wanted = [error(*parts, without=[unit]) - whole for unit in range(parts[1].shape[1])]
    np.testing.assert_allclose(causal_importance(*parts), wanted, atol=1e-8 * max(1.0, whole))


@given(models(), st.integers(1, 7))
def test_decoding_without_each_unit_finds_the_same(parts, chunk):
    x, z, vectors, bias = parts
    found = ablation_importance(x.double(), z.double(), lambda code: code @ vectors.double() + bias.double(), chunk)
    np.testing.assert_allclose(found, causal_importance(*parts), atol=1e-8 * max(1.0, error(*parts)))


@given(models(), st.data())
def test_removing_units_together_costs_what_decoding_without_them_does(parts, data):
    units = data.draw(st.permutations(range(parts[1].shape[1])))
    counts = data.draw(st.lists(st.integers(0, len(units)), min_size=1, max_size=6))
    wanted = [error(*parts, without=units[:count]) for count in counts]
    found = error_by_removal(*parts, units, counts)
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-8 * max(1.0, *wanted))


@given(models())
def test_importance_is_the_product_of_three_sizes(parts):
    _, z, vectors, _ = parts
    activation = z.abs().mean(dim=0)
    found = unit_importance(vectors, vectors, activation)
    lengths = np.linalg.norm(vectors.double().numpy(), axis=1)
    np.testing.assert_allclose(found, lengths**2 * activation.double().numpy(), rtol=1e-5, atol=1e-6)
    assert bool((found >= 0).all())


@given(arrays(np.float32, st.integers(1, 12), elements=st.floats(allow_nan=True, allow_infinity=True, width=32)))
def test_the_order_is_a_stable_sort_with_nan_last(importance):
    found = order(torch.from_numpy(importance)).tolist()
    # Python's sort is stable too; of the least and of no number at all, either may come last.
    keys = [np.inf if np.isnan(value) else -value for value in importance]
    assert [keys[i] for i in found] == sorted(keys)
    assert sorted(found) == list(range(len(importance)))
    assert all(i < j for i, j in pairwise(found) if importance[i] == importance[j])


@given(st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), min_size=2, max_size=12))
def test_rank_correlation_is_that_of_the_ranks(pairs):
    a, b = np.array(pairs, dtype=float).T
    found = rank_correlation(a, torch.from_numpy(b))
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        assert np.isnan(found)
    else:
        ranks = scipy.stats.rankdata(a), scipy.stats.rankdata(b)
        assert found == pytest.approx(np.corrcoef(*ranks)[0, 1], abs=1e-9)
