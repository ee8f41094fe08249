"""Births, deaths and swaps of latents, counted by hand."""

import math

import pytest
import torch

from ae_lightning.analysis.truth_tracking import Tracked, latent_events, track_truths


def turned(*degrees: float) -> torch.Tensor:
    angles = torch.tensor(degrees, dtype=torch.float64).deg2rad()
    return torch.stack([angles.cos(), angles.sin()], dim=-1)


RIGHT_AND_UP = turned(0, 90)


def test_each_truth_has_its_latent_and_their_cosine_at_each_moment():
    # The first moment: latent 1 lies nearest to both truths, and gets the one that loses more without it.
    tracked = track_truths([turned(200, 80, 60), 5 * turned(0, 90, 45)], RIGHT_AND_UP)
    assert tracked.latent_of.tolist() == [[0, 1], [0, 1]]
    expected = [[math.cos(math.radians(20)), math.cos(math.radians(10))], [1, 1]]
    torch.testing.assert_close(tracked.cosine_of, torch.tensor(expected, dtype=torch.float64))


def test_a_truth_that_no_latent_is_left_for_has_none():
    tracked = track_truths([turned(85), turned(10)], RIGHT_AND_UP)
    assert tracked.latent_of.tolist() == [[-1, 0], [0, -1]]
    assert tracked.cosine_of[0, 0] == tracked.cosine_of[1, 1] == 0


def test_latents_are_born_swap_and_die():
    # Three latents and two truths, of which each is at most 45° from a latent that stands for it.
    moments = [
        turned(0, 50, 45),  # latent 0 stands for the first truth, and latent 1, at 40°, for the second
        turned(90, 0, 45),  # both swap
        turned(90, 0, 45) * torch.tensor([[1.0], [0.0], [1.0]]),  # latent 1 dies; latent 2, at just 45°, is not born
        turned(90, 0, 0) * torch.tensor([[1.0], [0.0], [1.0]]),  # latent 2 is born
        turned(90, 0, 0) * torch.tensor([[0.0], [1.0], [0.0]]),  # latents 0 and 2 die, and latent 1 is born again
    ]
    events = latent_events(track_truths(moments, RIGHT_AND_UP), 3, threshold=0.7072)
    assert events.truth_of.tolist() == [[0, 1, -1], [1, 0, -1], [1, -1, -1], [1, -1, 0], [-1, 0, -1]]
    assert events.swapped.nonzero().tolist() == [[0, 0], [0, 1]]
    assert events.died.nonzero().tolist() == [[1, 1], [3, 0], [3, 2]]
    assert events.born.nonzero().tolist() == [[2, 2], [3, 1]]


def test_a_truth_that_goes_to_a_nearer_latent_is_a_death_and_a_birth():
    moments = [turned(10, 60), turned(10, 0)]
    events = latent_events(track_truths(moments, turned(0)), 2)
    assert events.truth_of.tolist() == [[0, -1], [-1, 0]]
    assert events.died.tolist() == [[True, False]]
    assert events.born.tolist() == [[False, True]]
    assert not events.swapped.any()


def test_a_single_moment_has_latents_that_stand_for_truths_and_no_events():
    events = latent_events(track_truths([RIGHT_AND_UP], RIGHT_AND_UP), 2)
    assert events.truth_of.tolist() == [[0, 1]]
    assert events.born.shape == events.died.shape == events.swapped.shape == (0, 2)


def test_what_cannot_be_tracked_is_refused():
    with pytest.raises(ValueError, match="without a moment"):
        track_truths([], RIGHT_AND_UP)
    with pytest.raises(ValueError, match="not finite"):
        track_truths([RIGHT_AND_UP * math.nan], RIGHT_AND_UP)
    with pytest.raises(ValueError, match="latent 4, but there are 3"):
        latent_events(Tracked(torch.tensor([[4]]), torch.ones(1, 1)), 3)
