"""Between what layers give and rows."""

from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from ae_lightning.errors import DataError
from ae_lightning.harvesting.layout import (
    Channels,
    from_rows,
    layout_of,
    places_of,
    tensor_in,
    to_rows,
    usual_channels,
    with_tensor,
)


@pytest.mark.parametrize(
    ("shape", "channels", "positions", "width"),
    [
        ((3, 8), "last", (), 8),
        ((3, 8), "first", (), 8),
        ((3, 5, 8), "last", (5,), 8),
        ((3, 8, 5), "first", (5,), 8),
        ((3, 8, 2, 4), "first", (2, 4), 8),
        ((3, 2, 4, 8), "last", (2, 4), 8),
    ],
)
def test_rows_are_those_of_each_position_and_go_back(
    shape: tuple[int, ...], channels: Channels, positions: tuple[int, ...], width: int
) -> None:
    value = torch.arange(torch.Size(shape).numel(), dtype=torch.float32).reshape(shape)
    layout = layout_of(shape, 3, channels, "layer")
    assert (layout.positions, layout.width) == (positions, width)
    rows = to_rows(value, layout)
    assert rows.shape == (3, layout.per_sample, width)
    if len(shape) == 4:
        y, x = 1, 2
        picked = value[2, :, y, x] if channels == "first" else value[2, y, x]
        assert torch.equal(rows[2, y * 4 + x], picked)
    assert torch.equal(from_rows(rows, layout), value)


@pytest.mark.parametrize("shape", [(), (3,), (4, 8), (6, 8)])
def test_what_has_no_rows_of_the_samples_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(DataError, match=r"layer here gives .* for 3 samples"):
        layout_of(shape, 3, "last", "here")


def test_the_width_is_where_the_class_has_it() -> None:
    assert usual_channels(nn.Conv2d(1, 1, 1), 4) == "first"
    assert usual_channels(nn.Conv1d(1, 1, 1), 3) == "first"
    assert usual_channels(nn.Linear(1, 1), 4) == "last"
    assert usual_channels(nn.ReLU(), 4) == "first"
    assert usual_channels(nn.ReLU(), 3) == "last"


class Output(NamedTuple):
    hidden: Tensor
    other: int


@pytest.mark.parametrize(
    "wrap", [lambda x: x, lambda x: (x, 1), lambda x: [x], lambda x: {"a": x}, lambda x: Output(x, 1)]
)
def test_the_tensor_of_what_a_layer_gives_is_found_and_replaced(wrap: object) -> None:
    x, other = torch.zeros(2), torch.ones(2)
    value = wrap(x)  # type: ignore[operator]
    assert tensor_in(value) is x
    replaced = with_tensor(value, other)
    assert type(replaced) is type(value)
    assert tensor_in(replaced) is other
    assert tensor_in(value) is x  # what was given is left as it was


def test_there_may_be_no_tensor() -> None:
    assert tensor_in(None) is None
    assert tensor_in(()) is None
    assert tensor_in({"a": "b"}) is None


def test_places_are_those_that_are_kept_in_order() -> None:
    sample, position = places_of(None, 2, 3)
    assert (sample.tolist(), position.tolist()) == ([0, 0, 0, 1, 1, 1], [0, 1, 2, 0, 1, 2])
    kept = torch.tensor([[False, True, True], [True, False, False]])
    sample, position = places_of(kept, 2, 3)
    assert (sample.tolist(), position.tolist()) == ([0, 0, 1], [1, 2, 0])
