"""Views of directions in space, beside what geometry says of them."""

import math

import pytest
import torch

from ae_lightning.analysis.view import spread_view, turned

AXES = torch.eye(3)


def smallest_distance(seen: torch.Tensor) -> float:
    return float(torch.pdist(torch.cat([seen.new_zeros(1, 3), seen])[:, :2]).min())


def test_a_view_is_a_rotation_with_its_third_row_towards_the_viewer():
    view = spread_view(torch.randn(5, 3, generator=torch.Generator().manual_seed(0)))
    torch.testing.assert_close(view @ view.T, torch.eye(3, dtype=torch.float64))
    assert float(torch.linalg.det(view)) == pytest.approx(1)
    # The pole points up, and neither to the left nor to the right.
    x, y, _ = (view @ torch.tensor([0.0, 0, 1], dtype=torch.float64)).tolist()
    assert x == pytest.approx(0)
    assert y >= 0


def test_three_axes_are_seen_from_between_them():
    view = spread_view(AXES)
    # From (1, 1, 1) each is √⅔ long and 120° from the others; no view has all of them longer.
    assert float(view[2].abs().sum()) == pytest.approx(math.sqrt(3), abs=0.02)
    assert smallest_distance(AXES.double() @ view.T) == pytest.approx(math.sqrt(2 / 3), abs=0.06)


def test_vectors_in_a_plane_are_seen_from_above_it():
    angles = 2 * math.pi * torch.arange(5) / 5
    in_plane = torch.stack([angles.cos(), torch.zeros(5), angles.sin()], dim=1)
    assert float(spread_view(in_plane)[2, 1].abs()) > 0.99


def test_a_turn_takes_what_is_on_the_right_away_from_the_viewer():
    right, _, towards = turned(torch.eye(3, dtype=torch.float64), 90).T.tolist()
    assert right == pytest.approx([0, 0, -1])
    assert towards == pytest.approx([1, 0, 0])
    whole = turned(torch.eye(3, dtype=torch.float64), 360)
    torch.testing.assert_close(whole, torch.eye(3, dtype=torch.float64))


@pytest.mark.parametrize("vectors", [torch.ones(3, 2), torch.full((2, 3), math.nan)])
def test_what_has_no_view_is_refused(vectors):
    with pytest.raises(ValueError, match=r"vectors \(n, 3\)"):
        spread_view(vectors)
