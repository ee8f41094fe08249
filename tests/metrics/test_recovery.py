import itertools
import math

import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import cosine_similarity

from ae_lightning.metrics.recovery import (
    cosine_matrix,
    duplicates,
    fraction_recovered,
    fully_recovered,
    matched_latents,
    mcc,
    mmcs,
    recovery_scores,
)

# Three features along the axes; rows of any length.
TRUE = torch.diag(torch.tensor([1.0, 2.0, 3.0]))
# Along the first, 3-4-5 between the second and the third, opposite to the third, and dead.
LEARNED = torch.tensor([[5.0, 0.0, 0.0], [0.0, 3.0, 4.0], [0.0, 0.0, -2.0], [0.0, 0.0, 0.0]])
SCORES = [mmcs, mcc, fraction_recovered, fully_recovered, duplicates]


def _rows(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_cosines_by_hand():
    expected = [[1.0, 0.0, 0.0], [0.0, 0.6, 0.8], [0.0, 0.0, -1.0], [0.0, 0.0, 0.0]]
    torch.testing.assert_close(cosine_matrix(LEARNED, TRUE), torch.tensor(expected))


def test_cosines_are_scikit_learns():
    learned, true = _rows(7, 20), _rows(4, 20, seed=1)
    np.testing.assert_allclose(cosine_matrix(learned, true), cosine_similarity(learned, true), atol=1e-6)


def test_a_row_is_a_latent_and_not_an_input():
    # Square matrices hide a wrong axis; the columns of this one have other directions than its rows.
    learned = torch.tensor([[1.0, 1.0], [0.0, 1.0]])
    half = math.sqrt(0.5)
    torch.testing.assert_close(cosine_matrix(learned, torch.eye(2)), torch.tensor([[half, half], [0.0, 1.0]]))
    torch.testing.assert_close(cosine_matrix(torch.eye(2), learned), torch.tensor([[half, 0.0], [half, 1.0]]))


@pytest.mark.parametrize("scale", [1e-38, 1e-30, 1e30])
def test_cosines_do_not_depend_on_length(scale):
    learned, true = _rows(5, 8), _rows(3, 8, seed=1)
    torch.testing.assert_close(cosine_matrix(learned * scale, true), cosine_matrix(learned, true), rtol=1e-4, atol=1e-5)


def test_cosines_stay_within_one_whatever_the_rounding():
    rows = _rows(500, 30)
    cosines = cosine_matrix(rows, rows)
    assert cosines.abs().max() <= 1
    torch.testing.assert_close(cosines.diagonal(), torch.ones(500))


def test_mmcs_by_hand():
    # The best cosines of the features are 1, 0.6 and 0.8; the opposite latent does not count.
    assert mmcs(LEARNED, TRUE).item() == pytest.approx((1 + 0.6 + 0.8) / 3)


def test_mcc_by_hand():
    # One to one: 1, then either 0.6 (second) with 1 (third, opposite), or 0.8 (third) and 0 for the second.
    assert mcc(LEARNED, TRUE).item() == pytest.approx((1 + 0.6 + 1) / 3)


def test_mcc_is_the_best_of_all_matchings():
    learned, true = _rows(6, 4), _rows(4, 4, seed=1)
    cosines = np.abs(cosine_similarity(learned, true))
    best = max(sum(cosines[i, j] for j, i in enumerate(order)) for order in itertools.permutations(range(6), 4))
    assert mcc(learned, true).item() == pytest.approx(best / 4, rel=1e-5)


def test_mcc_is_not_the_greedy_matching():
    def at(*degrees: float) -> torch.Tensor:
        angles = torch.tensor(degrees).deg2rad()
        return torch.stack([angles.cos(), angles.sin()], dim=1)

    # The largest cosine is that of 28° with 0°, 0.883; it would leave 0.087 for the others.
    cos32, cos35 = math.cos(math.radians(32)), math.cos(math.radians(35))
    assert mcc(at(28, -35), at(0, 60)).item() == pytest.approx((cos32 + cos35) / 2)


def test_one_direction_for_all_is_rewarded_by_mmcs_and_not_by_mcc():
    true = torch.tensor([[1.0, 0.0], [0.8, 0.6]])
    learned = true[:1].repeat(2, 1)
    assert mmcs(learned, true).item() == pytest.approx((1 + 0.8) / 2)
    assert duplicates(learned, true).item() == 2
    # Duplicates beside a full dictionary cost nothing in either.
    full = torch.cat([true, learned])
    assert mmcs(full, true).item() == pytest.approx(1)
    assert mcc(full, true).item() == pytest.approx(1)
    assert duplicates(full, true).item() == 3


def test_signs_count_but_for_mcc():
    assert mcc(-TRUE, TRUE).item() == pytest.approx(1)
    assert mmcs(-TRUE, TRUE).item() == pytest.approx(0)
    assert fraction_recovered(-TRUE, TRUE).item() == 0
    assert not fully_recovered(-TRUE, TRUE)
    assert duplicates(-TRUE.repeat(2, 1), TRUE).item() == 0


def test_fraction_recovered_by_hand_and_its_threshold_is_excluded():
    # Best cosines 1, 0.6, 0.8.
    assert fraction_recovered(LEARNED, TRUE).item() == pytest.approx(1 / 3)
    assert fraction_recovered(LEARNED, TRUE, 0.7).item() == pytest.approx(2 / 3)
    assert fraction_recovered(LEARNED, TRUE, 0.5).item() == 1
    assert fraction_recovered(LEARNED.double(), TRUE.double(), 0.8).item() == pytest.approx(1 / 3)
    assert [fully_recovered(LEARNED, TRUE, threshold).item() for threshold in (0.7, 0.5)] == [False, True]


def test_the_order_and_length_of_latents_do_not_matter():
    true = _rows(5, 12)
    learned = torch.cat([_rows(3, 12, seed=1), true * torch.linspace(0.1, 9, 5)[:, None]])[torch.randperm(8)]
    assert mmcs(learned, true).item() == pytest.approx(1)
    assert mcc(learned, true).item() == pytest.approx(1)
    assert fraction_recovered(learned, true).item() == 1
    assert fully_recovered(learned, true)
    assert duplicates(learned, true).item() == 0


def test_duplicates_by_hand():
    # Three latents on the first feature, one on the second, two on the third, one nearest to the third, one dead.
    rows = [[1.0, 0, 0], [2, 0.1, 0], [3, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 2], [0, 3, 4], [0, 0, 0]]
    learned = torch.tensor(rows)
    assert duplicates(learned, TRUE).item() == 3 + 2
    # Its cosines are 0.6 and 0.8, and it has the nearer feature alone.
    assert duplicates(learned, TRUE, 0.7).item() == 3 + 3
    assert duplicates(learned, TRUE, 0.5).item() == 3 + 3
    # cos(2, 0.1) = 2 / √4.01 = 0.99875.
    assert duplicates(learned, TRUE, 0.999).item() == 2 + 2


def test_dead_latents_recover_nothing_and_are_no_duplicates():
    dead = torch.zeros(4, 3)
    assert [float(score(dead, TRUE)) for score in SCORES] == [0] * 5


def test_a_feature_that_is_not_there_is_never_recovered():
    true = torch.cat([TRUE, torch.zeros(1, 3)])
    learned = torch.cat([TRUE, torch.ones(1, 3)])
    assert mmcs(learned, true).item() == pytest.approx(3 / 4)
    assert mcc(learned, true).item() == pytest.approx(3 / 4)
    assert fraction_recovered(learned, true).item() == 3 / 4
    assert not fully_recovered(learned, true)


def test_with_fewer_latents_than_features_the_rest_counts_zero():
    assert mcc(TRUE[:2], TRUE).item() == pytest.approx(2 / 3)
    assert fraction_recovered(TRUE[:1], TRUE).item() == pytest.approx(1 / 3)


@pytest.mark.parametrize("score", SCORES)
def test_each_instance_is_scored_as_if_it_were_alone(score):
    true = _rows(4, 5)
    learned = torch.stack([_rows(7, 5, seed=1), torch.cat([true, true[:3]]), torch.zeros(7, 5)])
    shared = score(learned, true)
    assert shared.shape == (3,)
    torch.testing.assert_close(shared, torch.stack([score(one, true) for one in learned]))
    trues = torch.stack([_rows(4, 5, seed=2), true, true.flip(0)])
    torch.testing.assert_close(
        score(learned, trues), torch.stack([score(a, b) for a, b in zip(learned, trues, strict=True)])
    )


def test_the_pentagon_of_the_toy_model():
    angles = 2 * math.pi * torch.arange(5) / 5
    true = torch.stack([angles.cos(), angles.sin()], dim=1)
    assert fully_recovered(true.roll(2, 0), true)
    assert duplicates(true, true).item() == 0
    # Turned by half of 72° every latent is 36° from the next feature, and every feature from the next latent.
    turned = torch.stack([(angles + math.pi / 5).cos(), (angles + math.pi / 5).sin()], dim=1)
    assert mmcs(turned, true).item() == pytest.approx(math.cos(math.pi / 5))
    # Opposite to the middle between two neighbors lies a feature: without its sign each matches perfectly.
    assert mcc(turned, true).item() == pytest.approx(1)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(dtype):
    learned, true = _rows(9, 300).to(dtype), _rows(4, 300, seed=1)
    cosines = cosine_matrix(learned, true)
    assert cosines.dtype == torch.float32
    np.testing.assert_allclose(cosines, cosine_similarity(learned.float(), true), atol=1e-6)
    assert cosine_matrix(learned, true.double()).dtype == torch.float64


def test_parameters_may_be_passed_and_diverged_ones_are_seen():
    learned = torch.nn.Parameter(torch.stack([LEARNED, LEARNED]))
    with torch.no_grad():
        learned[1, 0, 0] = math.nan
    assert mcc(learned, TRUE).isnan().tolist() == [False, True]
    assert mmcs(learned, TRUE).isnan().tolist() == [False, True]
    assert fully_recovered(learned, TRUE, 0.5).tolist() == [True, False]
    assert duplicates(learned, TRUE).tolist() == [0, 0]


@pytest.mark.parametrize("score", [cosine_matrix, *SCORES])
def test_shapes_that_do_not_fit_are_refused(score):
    with pytest.raises(ValueError, match=r"\(4, 3\).*\(5, 2\) must have the same input size"):
        score(torch.ones(4, 3), torch.ones(5, 2))
    with pytest.raises(ValueError, match="different numbers of instances"):
        score(torch.ones(2, 4, 3), torch.ones(3, 5, 3))


@pytest.mark.parametrize("score", [fraction_recovered, fully_recovered, duplicates])
@pytest.mark.parametrize("threshold", [-0.1, 1.0, math.nan])
def test_thresholds_that_make_no_sense_are_refused(score, threshold):
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\)"):
        score(LEARNED, TRUE, threshold)


def test_scores_of_one_dictionary_by_hand():
    # The best cosines of the features are 1, 0.6 and 0.8, one to one 1, 0.6 and |−1|.
    assert recovery_scores(LEARNED, TRUE) == {
        "mcc": pytest.approx((1 + 0.6 + 1) / 3),
        "mmcs": pytest.approx((1 + 0.6 + 0.8) / 3),
        "fraction_recovered": pytest.approx(1 / 3),
        "fully_recovered": 0,
        "fully_recovered_instances": 0,
        "instances": 1,
        "duplicates": 0,
    }


def test_scores_of_instances_are_means_but_for_counts():
    twice = torch.cat([TRUE, TRUE[:1]])
    learned = torch.nn.Parameter(torch.stack([twice, twice, LEARNED, torch.zeros(4, 3)]))
    scores = recovery_scores(learned, TRUE)
    assert all(type(score) is float for score in scores.values())
    assert scores == {
        "mcc": pytest.approx((1 + 1 + 2.6 / 3 + 0) / 4),
        "mmcs": pytest.approx((1 + 1 + 0.8 + 0) / 4),
        "fraction_recovered": pytest.approx((1 + 1 + 1 / 3 + 0) / 4),
        "fully_recovered": 2 / 4,
        "fully_recovered_instances": 2,
        "instances": 4,
        "duplicates": (2 + 2) / 4,
    }


def test_scores_of_rows_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="must have the same input size"):
        recovery_scores(torch.ones(4, 3), torch.ones(5, 2))


def test_features_and_latents_are_matched_one_to_one_by_the_largest_sum():
    """Both features are nearest to latent 0; the first gives way, since 0.9 + 0.95 is more than 1 + 0.1."""
    cosines = torch.tensor([[1.0, -0.9, 0.0], [0.95, 0.1, 0.0]])
    features, latents = matched_latents(cosines)
    assert (features.tolist(), latents.tolist()) == ([0, 1], [1, 0])
    with pytest.raises(ValueError, match="not finite"):
        matched_latents(cosines * torch.nan)
