import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ae_lightning.nn.batch_selection import largest

LEVELS = [-float("inf"), -2.5, -1.0, 0.0, 1e-30, 0.5, 1.0, 3.0]


def kept(scores, places):
    """The values at the places, largest first, as a list."""
    return sorted(scores[places].tolist(), reverse=True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@given(data=st.data(), size=st.integers(1, 700), seed=st.integers(0, 100))
def test_they_are_the_largest_of_all_by_a_sort(data, size, seed, dtype):
    """Drawn from few levels, so that many are equal; counts from none to all and beyond."""
    torch.manual_seed(seed)
    scores = torch.tensor(LEVELS, dtype=dtype)[torch.randint(len(LEVELS), (size,))]
    count = data.draw(st.one_of(st.integers(0, size // 16), st.integers(0, size + 2)))
    places = largest(scores, count)
    assert len(set(places.tolist())) == len(places) == min(count, size)
    assert kept(scores, places) == sorted(scores.tolist(), reverse=True)[:count]


@pytest.mark.parametrize("count", [0, 1, 7, 40, 1999, 2000, 2001])
def test_places_of_distinct_scores_are_those_of_a_flat_topk(count):
    scores = torch.randperm(2000, generator=torch.Generator().manual_seed(0)).double() - 1000
    assert set(largest(scores, count).tolist()) == set(scores.topk(min(count, 2000)).indices.tolist())


def test_the_largest_may_lie_side_by_side_at_either_end():
    for order in (1, -1):  # all in one chunk's neighbors, and in what is left beside the chunks
        scores = torch.arange(10_007.0).mul(order)
        assert set(largest(scores, 100).tolist()) == set(scores.topk(100).indices.tolist())


def test_a_batch_of_zeros_keeps_as_many_as_any():
    assert len(set(largest(torch.zeros(4096), 50).tolist())) == 50


def test_what_leads_is_apart():
    torch.manual_seed(0)
    scores = torch.randn(3, 2, 1000) + torch.arange(3.0).view(3, 1, 1)
    together = largest(scores, 20)
    for i in range(3):
        for j in range(2):
            assert set(together[i, j].tolist()) == set(scores[i, j].topk(20).indices.tolist())


def test_a_score_that_is_no_number_is_kept_so_that_it_is_seen():
    scores = torch.arange(1000.0)
    scores[3] = float("nan")
    assert set(largest(scores, 3).tolist()) == {3, 998, 999}
