import math
from itertools import permutations

import pytest
import torch

from ae_lightning.analysis.tracking import births_and_deaths, drift, match_units, top_units, unit_cosines


def turned(*degrees):
    angles = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], dim=-1)


def test_the_top_units_of_each_moment():
    importances = torch.tensor([[1.0, 5.0, 2.0, 5.0], [9.0, 0.0, math.nan, 1.0]])
    assert top_units(importances, 3).tolist() == [[1, 3, 2], [0, 3, 1]]


@pytest.mark.parametrize(("shape", "k"), [((2, 3), 0), ((2, 3), 4), ((3,), 1)])
def test_a_number_of_top_units_that_cannot_be_is_refused(shape, k):
    with pytest.raises(ValueError, match="from 1 to latent"):
        top_units(torch.ones(shape), k)


def test_units_that_changed_places_are_found_again():
    generator = torch.Generator().manual_seed(0)
    before = torch.randn(50, 20, generator=generator)
    places = torch.randperm(50, generator=generator)
    after = torch.empty_like(before)
    after[places] = 3 * before + 0.01 * torch.randn(50, 20, generator=generator)
    matching = match_units(before, after)
    assert matching.assignment.tolist() == places.tolist()
    assert bool((matching.cosine > 0.999).all())


def test_the_matching_is_the_best_of_all_and_not_each_units_own_choice():
    # The unit at 0° and the one at 30° both have 10° as their nearest; only one can have it.
    before, after = turned(0, 30, 200), turned(10, 100, 190)
    expected = max(
        permutations(range(3)), key=lambda places: float(unit_cosines(before, after[list(places)]).sum().item())
    )
    matching = match_units(before, after)
    assert tuple(matching.assignment.tolist()) == expected == (0, 1, 2)
    assert matching.cosine.tolist() == pytest.approx([math.cos(math.radians(d)) for d in (10, 70, 10)])


def test_a_unit_that_turned_around_is_no_match_for_what_it_was():
    rows = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    matching = match_units(rows, torch.tensor([[-1.0, 0.0], [1.0, 0.1]]))
    assert matching.assignment.tolist() == [1, 0]


def test_zero_rows_take_what_is_left_over():
    matching = match_units(torch.tensor([[0.0, 0.0], [1.0, 0.0]]), torch.tensor([[2.0, 0.0], [0.0, 3.0]]))
    assert matching.assignment.tolist() == [1, 0]
    assert matching.cosine.tolist() == [0, 1]


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (torch.ones(2, 3), torch.ones(3, 3), r"\(3, 3\)"),
        (torch.ones(1, 2, 3), torch.ones(1, 2, 3), r"\(1, 2, 3\)"),
        (torch.ones(2, 3), torch.full((2, 3), math.nan), "not finite"),
    ],
)
def test_what_cannot_be_matched_is_refused(before, after, message):
    with pytest.raises(ValueError, match=message):
        match_units(before, after)


def test_drift_is_that_of_known_angles_whatever_the_length():
    moments = torch.stack([turned(0, 45, 90), 7 * turned(60, 45, 270), turned(60, 135, 270)])
    expected = torch.tensor([[0.5, 0, 2], [0, 1, 0]], dtype=torch.float64)
    torch.testing.assert_close(drift(moments), expected)
    torch.testing.assert_close(drift(iter(moments)), expected)


def test_a_turn_too_small_for_a_float32_cosine_is_seen():
    angle = 1e-4
    moments = torch.tensor([[[1.0, 0.0]], [[1.0, angle]]])
    assert float(drift(moments)) == pytest.approx(angle**2 / 2, rel=1e-3)


def test_a_unit_without_weights_drifts_by_one_and_instances_are_kept_apart():
    moments = torch.zeros(3, 2, 4, 5)
    moments[:, 1] = 1
    drifts = drift(moments)
    assert drifts.shape == (2, 2, 4)
    torch.testing.assert_close(drifts[:, 0], torch.ones(2, 4, dtype=torch.float64))
    torch.testing.assert_close(drifts[:, 1], torch.zeros(2, 4, dtype=torch.float64))


def test_one_moment_has_no_drift():
    with pytest.raises(ValueError, match="two moments"):
        drift(torch.ones(1, 2, 3))
    with pytest.raises(ValueError, match="same shape"):
        drift([torch.ones(2, 3), torch.ones(3, 3)])


@pytest.mark.parametrize(
    ("rates", "born", "died"),
    [
        ([0, 0, 0, 0], -1, -1),
        ([1, 1, 1, 1], 0, -1),
        ([0, 0, 1, 1], 2, -1),
        ([0, 1, 0, 0], 1, 1),
        ([1, 0, 1, 0], 0, 2),
        ([1, 0, 0, 1], 0, -1),
        ([0, 0, 0, 1], 3, -1),
        ([0.1, 0.2, 0.1, 0.1], 1, 1),
        ([math.nan, 1, math.nan, math.nan], 1, 1),
    ],
)
def test_births_and_deaths_by_hand(rates, born, died):
    firing = torch.stack([torch.zeros(4), torch.tensor(rates, dtype=torch.float32)], dim=1)
    births = births_and_deaths(firing, threshold=0.1)
    assert births.born.tolist() == [-1, born]
    assert births.died.tolist() == [-1, died]
    assert births.born.dtype == births.died.dtype == torch.int64


@pytest.mark.parametrize("shape", [(0, 3), (4,)])
def test_firing_without_moments_is_refused(shape):
    with pytest.raises(ValueError, match="firing"):
        births_and_deaths(torch.ones(shape))


def test_cosines_of_units_by_hand():
    encoder = torch.nn.Parameter(torch.tensor([[1.0, 0.0], [3.0, 4.0], [0.0, 0.0], [1.0, 1.0], [1e-30, 0.0]]))
    decoder = torch.tensor([[0.0, 2.0], [5.0, 0.0], [1.0, 1.0], [-2.0, -2.0], [1e-30, 0.0]])
    cosines = unit_cosines(encoder, decoder)
    assert cosines.tolist() == pytest.approx([0, 0.6, 0, -1, 1])
    assert not cosines.requires_grad
    stacked = unit_cosines(torch.stack([encoder, decoder]), torch.stack([decoder, decoder]))
    torch.testing.assert_close(stacked, torch.stack([cosines, torch.ones(5, dtype=torch.float64)]))


def test_cosines_of_rows_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="same shape"):
        unit_cosines(torch.ones(2, 3), torch.ones(2, 4))
