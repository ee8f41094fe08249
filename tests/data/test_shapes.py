import itertools
import math

import numpy as np
import pytest
import torch

from ae_lightning.data import ShapesDataModule
from ae_lightning.data.drawn_shapes import AXES, HEART, OUTLINES, REACH, SIDE, draw_shapes
from ae_lightning.errors import ConfigError

SMALL = {"image_size": 12, "scales": 2, "rotations": 4, "positions": 6}  # 864 samples


def made(**options) -> ShapesDataModule:
    data = ShapesDataModule(**{**SMALL, **options})
    data.setup()
    return data


def parts(data: ShapesDataModule) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return [part.take(100_000) for part in (data.train_set, data.val_set, data.test_set)]


def drawn(name: str, size: int = 64, scale: float = 1.0, angle: float = 0.0, x: float = 0.5, y: float = 0.5):
    one = [torch.tensor([float(value)]) for value in (scale, angle, x, y)]
    return draw_shapes(torch.zeros(1, dtype=torch.int64), *one, size, [name])[0, 0].double() / 255


def test_the_whole_grid_is_there_once() -> None:
    data = made()
    values = torch.cat([y for _, y in parts(data)])
    assert values.dtype == torch.int64
    assert [len(factor.values) for factor in data.factors] == [3, 2, 4, 6, 6]
    assert sorted(map(tuple, values.tolist())) == list(itertools.product(*map(range, (3, 2, 4, 6, 6))))
    assert [factor.name for factor in data.factors] == ["shape", "scale", "rotation", "x", "y"]
    assert [factor.is_ordered for factor in data.factors] == [False, True, True, True, True]


def test_pictures_that_look_the_same_are_in_one_set() -> None:
    train, val, test = ({x.numpy().tobytes() for x in samples} for samples, _ in parts(made()))
    # A square looks the same at all four rotations, an ellipse at two and two, a heart at none.
    assert len(train | val | test) == 2 * 36 * (1 + 2 + 4)
    assert len(train) + len(val) + len(test) == len(train | val | test)


def test_sizes_of_the_sets() -> None:
    data = made(test_fraction=0.25, val_fraction=0.2)
    train, val, test = (len(part) for part in (data.train_set, data.val_set, data.test_set))
    assert train + val + test == 864
    assert 216 <= test < 216 + 4  # a square's four samples stay together
    assert 0.2 * (train + val) <= val < 0.2 * (train + val) + 4
    assert "864" not in data.description
    assert data.description.startswith("Shapes: ")


def test_a_sample_of_the_grid_follows_the_seed_and_is_drawn_without_replacement() -> None:
    first, again, other = (torch.cat([y for _, y in parts(made(samples=600, seed=seed))]) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert len(first.unique(dim=0)) == 600
    assert made(seed=1).fingerprint() == made(seed=1).fingerprint() != made(seed=2).fingerprint()


def test_the_first_samples_are_like_all() -> None:
    """Probes, figures and the explorer take the first ones."""
    y = made().development_set.take(100)[1]
    assert [len(column.unique()) for column in y.T] == [3, 2, 4, 6, 6]


def test_the_class_is_one_factor() -> None:
    data = ShapesDataModule(**SMALL, class_factor="rotation")
    assert (data.num_classes, data.class_names) == (4, ("0°", "90°", "180°", "270°"))
    y = torch.tensor([[2, 1, 3, 0, 5], [0, 0, 1, 4, 4]])
    assert data.classes_of(y).tolist() == [3, 1]
    assert ShapesDataModule().classes_of(y).tolist() == [2, 0]
    assert ShapesDataModule().class_names == ("square", "ellipse", "heart")


def test_areas_are_those_of_the_shapes() -> None:
    side = HEART / (0.75 + math.sqrt(2) / 4) / math.sqrt(2)  # of the heart's square; two half circles make one circle
    areas = {
        "square": SIDE**2,
        "ellipse": math.pi * math.prod(AXES),
        "heart": side**2 + math.pi * (side / 2) ** 2,
    }
    for name, scale, angle in itertools.product(OUTLINES, (0.5, 1.0), (0.0, 0.4)):
        area = float(drawn(name, 256, scale, angle).mean())
        assert area == pytest.approx(areas[name] * scale**2, rel=0.01), (name, scale, angle)


@pytest.mark.parametrize("name", OUTLINES)
def test_a_pixel_has_the_part_of_it_that_is_covered(name: str) -> None:
    """Counted of 16 × 16 points in each pixel."""
    smooth = drawn(name, 32, 0.8, 0.3, 0.41, 0.57)
    points = (drawn(name, 32 * 16, 0.8, 0.3, 0.41, 0.57) > 0.5).double()
    covered = points.reshape(32, 16, 32, 16).mean(dim=(1, 3))
    error = (smooth - covered).abs()
    assert float(error.max()) < 0.2  # in a corner
    assert int((error > 0.1).sum()) <= 4
    assert float(error.quantile(0.99)) < 0.05
    assert 0 < float(((smooth > 0) & (smooth < 1)).double().mean()) < 0.1


def test_x_goes_to_the_right_and_y_upward() -> None:
    picture = drawn("ellipse", 64, x=0.3, y=0.7)
    places = (torch.arange(64) + 0.5) / 64
    across = float((picture.sum(dim=0) * places).sum() / picture.sum())
    down = float((picture.sum(dim=1) * places).sum() / picture.sum())
    assert (across, down) == pytest.approx((0.3, 0.3), abs=1e-3)


def test_shapes_turn_counterclockwise() -> None:
    upright = drawn("heart", 32)
    assert torch.allclose(drawn("heart", 32, angle=math.pi / 2), upright.rot90(), atol=0.01)
    assert float(upright[:8].sum()) == 0.0
    rows = upright.sum(dim=1).nonzero().flatten()
    assert float(upright[rows[-1]].sum()) < float(upright[rows[0] + 2].sum()) / 3, "its point is below"


def test_no_shape_reaches_over_an_edge() -> None:
    for name, angle in itertools.product(OUTLINES, np.linspace(0, 2 * np.pi, 10)):
        reached = drawn(name, 128, angle=angle).nonzero().double() / 128 - 0.5
        assert float(reached.norm(dim=1).max()) < REACH + 0.01
    x = torch.cat([samples for samples, _ in parts(made(image_size=32))])
    edges = torch.cat([x[..., 0, :], x[..., -1, :], x[..., 0], x[..., -1]])
    assert float(edges.max()) == 0.0
    assert (float(x.min()), float(x.max())) == made().value_range


def test_of_four_rotations_half_is_seen() -> None:
    """All four squares look the same, and each ellipse like one other: (ln 4 + ln 2 + 0) / 3 of ln 4 is hidden."""
    assert ShapesDataModule(rotations=4).visible_rotation == pytest.approx(0.5)
    assert ShapesDataModule(rotations=7).visible_rotation == pytest.approx(1)
    assert ShapesDataModule(rotations=1).visible_rotation == 1


def test_a_single_value_is_the_largest_scale_and_the_middle() -> None:
    data = made(scales=1, positions=1, rotations=400)
    assert [factor.values for factor in data.factors[:2]] == [("square", "ellipse", "heart"), ("1",)]
    assert data.factors[3].values == ("0.5",)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"image_size": 4}, "--data.image_size is 4; it must be at least 12"),
        ({"rotations": 0}, "--data.rotations is 0"),
        ({"samples": 100_000}, "--data.samples is 100,000, but .* grid of 31,104"),
        ({"samples": 300}, "--data.samples 300 with --data.test_fraction 0.2 leaves fewer than 100 .* at least 500"),
        ({"samples": -1}, "--data.samples -1 .* at least 500"),
        ({"scales": 1, "rotations": 1, "positions": 2}, "A grid of 12 samples with .* at least 500"),
        ({"class_factor": "scales"}, "--data.class_factor is scales, .* did you mean scale?"),
        ({"class_factor": "color"}, "the factors are shape, scale, rotation, x, y"),
        ({"image_size": 4096}, "larger than 4 GiB; draw at most 256 by --data.samples"),
        ({"test_fraction": 1.0}, "--data.test_fraction is 1"),
    ],
)
def test_mistakes_are_said_in_a_sentence(options: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ShapesDataModule(**options)
