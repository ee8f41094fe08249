"""What drawing from a world is made of: intervals of points, and places in masks."""

import pytest
import torch

from ae_lightning.data.worlds.guide import Guide
from ae_lightning.data.worlds.kept import first_of, places_of, select


@pytest.mark.parametrize("shape", ["equal", "one", "uneven", "falling"])
def test_a_point_lies_in_its_interval(shape: str) -> None:
    lengths = {
        "equal": torch.full((7,), 0.3),
        "one": torch.tensor([2.5]),
        "uneven": torch.tensor([1e-9, 5.0, 1e-7, 1e-7, 3.0, 1e-12]),
        "falling": torch.arange(1, 500).double().pow(-1.5),
    }[shape].double()
    ends = lengths.cumsum(0)
    inside = ends - lengths / 2
    generator = torch.Generator().manual_seed(0)
    drawn = torch.rand(20_000, generator=generator, dtype=torch.float64) * ends[-1]
    # Points at an end belong to the next interval, and those just before it do not.
    points = torch.cat((inside, drawn, ends[:-1], ends[:-1].nextafter(torch.zeros(()).double())))
    expected = [sum(1 for end in ends.tolist() if end <= point) for point in points[: len(inside) + 200].tolist()]
    guide = Guide(lengths)
    assert guide.length == pytest.approx(float(lengths.sum()))
    assert guide.at(points)[: len(expected)].tolist() == expected
    assert guide.at(inside).tolist() == list(range(len(lengths)))
    assert torch.equal(guide.at(points), torch.bucketize(points, ends, right=True).clamp(max=len(ends) - 1))


@pytest.mark.parametrize("length", [0, 1, 8, 13, 4096])
@pytest.mark.parametrize("share", [0.0, 0.02, 1.0])
def test_places_and_entries_of_a_mask(length: int, share: float) -> None:
    kept = torch.rand(length, generator=torch.Generator().manual_seed(length)) < share
    places = [place for place, there in enumerate(kept.tolist()) if there]
    assert places_of(kept).tolist() == places
    vector = torch.arange(length) * 2
    ours, squares = select(kept, vector, vector.square())
    assert ours.tolist() == [2 * place for place in places]
    assert squares.tolist() == [4 * place * place for place in places]


def test_the_first_of_equal_places() -> None:
    assert first_of(torch.tensor([1, 1, 2, 5, 5, 5, 9])).tolist() == [True, False, True, True, False, False, True]
