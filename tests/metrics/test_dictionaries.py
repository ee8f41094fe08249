"""What decoder rows alone say of how true they are."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import linear_sum_assignment
from sklearn.metrics.pairwise import cosine_similarity
from torch import Tensor

from ae_lightning.metrics.dictionaries import decoder_cosine, mcc_matched, seed_mcc, splitting, uniqueness
from ae_lightning.metrics.matching import Matching
from ae_lightning.metrics.recovery import mcc


def rows(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def matched_mean(a: Tensor, b: Tensor) -> float:
    cosines = np.abs(cosine_similarity(a, b))
    return float(cosines[linear_sum_assignment(cosines, maximize=True)].mean())


@pytest.mark.parametrize(("latents", "features"), [(4, 9), (9, 4), (6, 6)])
def test_the_mean_over_matched_pairs_is_scipys(latents: int, features: int) -> None:
    learned, true = rows(latents, 5), rows(features, 5, seed=1)
    found = float(mcc_matched(learned, true))
    assert found == pytest.approx(matched_mean(learned, true), rel=1e-5)
    assert float(mcc(learned, true)) == pytest.approx(found * min(latents, features) / features, rel=1e-5)


def test_uniqueness_and_splitting_by_hand() -> None:
    # Two for the first feature, one against the second, and one between all, which stands for none.
    learned = torch.tensor([[1.0, 0.2, 0.0], [1.0, -0.2, 0.0], [0.0, -2.0, 0.1], [1.01, 1.0, 1.0]])
    assert float(uniqueness(learned, torch.eye(3))) == 2 / 4
    assert float(splitting(learned, torch.eye(3))) == (2 + 1) / 2
    assert math.isnan(float(splitting(learned[3:], torch.eye(3))))


def test_a_latent_stands_for_a_truth_with_more_than_half_of_its_squared_length() -> None:
    below, above = torch.tensor([[1.0, 1.001]]), torch.tensor([[1.0, 0.999]])
    true = torch.eye(2)[:1]
    assert math.isnan(float(splitting(below, true)))
    assert float(splitting(above, true)) == 1


def test_cosines_of_latents_with_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    learned = rows(3, 11, 4)
    monkeypatch.setattr("ae_lightning.metrics.dictionaries._CHUNK", 4)
    for instance in range(3):
        cosines = np.abs(cosine_similarity(learned[instance]))
        np.fill_diagonal(cosines, 0)
        assert float(decoder_cosine(learned)[instance]) == pytest.approx(cosines.sum() / 110, rel=1e-5)
        nearest = float(decoder_cosine(learned, nearest=True)[instance])
        assert nearest == pytest.approx(cosines.max(1).mean(), rel=1e-5)
    with pytest.raises(ValueError, match="at least two"):
        decoder_cosine(rows(1, 4))


def test_seeds_are_compared_in_pairs() -> None:
    a, b, c = rows(4, 5), rows(4, 5, seed=1), rows(3, 5, seed=2)
    assert float(seed_mcc([a, b, c])) == pytest.approx(
        (matched_mean(a, b) + matched_mean(a, c) + matched_mean(b, c)) / 3, rel=1e-5
    )
    assert float(seed_mcc(torch.stack([a, -a[[2, 0, 3, 1]] * 3]))) == pytest.approx(1)
    with pytest.raises(ValueError, match="rows of 1"):
        seed_mcc([a])


def test_matching_says_which_latent_stands_for_which_truth() -> None:
    learned = torch.tensor([[0.0, 0.0, -3.0], [4.0, 3.0, 0.0]])
    match = Matching.of(learned, torch.eye(3))
    assert match.best.tolist() == [2, 0]
    assert match.best_cosine.tolist() == pytest.approx([-1, 0.8])
    assert match.latent_of.tolist() == [1, -1, 0]
    assert match.cosine_of.tolist() == pytest.approx([0.8, 0, -1])


def test_rows_that_are_not_finite_match_nothing_and_leave_other_instances_alone() -> None:
    learned, true = rows(2, 4, 5), rows(3, 5, seed=1)
    learned[1, 2, 0] = torch.nan
    match = Matching.of(learned, true)
    assert match.latent_of[1].tolist() == [-1, -1, -1]
    for score in (mcc_matched, uniqueness):
        assert score(learned, true).isnan().tolist() == [False, True]
        torch.testing.assert_close(score(learned, true)[0], score(learned[0], true))
