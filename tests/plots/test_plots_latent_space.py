import io
from itertools import pairwise

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from ae_lightning.plots.latent_space import (
    arithmetic_strip,
    image_grid,
    interpolation_strips,
    plane_grid,
)
from ae_lightning.plots.tiles import NO_VALUE

SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32), (6, 9), (20,), (300,), (5, 4, 4)]
LABELS = ("latent 0", "latent 1")


def _gray(*values: float, shape: tuple[int, ...] = (1, 4, 4)) -> np.ndarray:
    return np.stack([np.full(shape, value) for value in values])


def _shades(figure: Figure) -> list[int]:
    return [int(np.asarray(image.get_array())[0, 0, 0]) for image in figure.axes[0].images]


def _extents(figure: Figure) -> list[tuple[float, ...]]:
    return [tuple(image.get_extent()) for image in figure.axes[0].images]


# --- interpolation and arithmetic ----------------------------------------------------------------------------------


def test_strips_stand_between_their_inputs_and_say_where_they_are():
    images = _gray(0.2, 0.4, 0.6, 0.8, 1.0, 0.0).reshape(2, 3, 1, 4, 4)
    ends = _gray(0.0, 1.0, 1.0, 0.0).reshape(2, 2, 1, 4, 4)
    figure = interpolation_strips(images, (0, 1), ends, ["0 → 1", "1 → 0"])
    ax = figure.axes[0]
    assert _shades(figure) == [0, 51, 102, 153, 255, 255, 204, 255, 0, 0]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["input", "t = 0", "0.5", "1", "input"]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["0 → 1", "1 → 0"]
    first = _extents(figure)[:5]
    gaps = [right[0] - left[1] for left, right in pairwise(first)]
    assert gaps[0] == pytest.approx(gaps[3])
    assert gaps[0] > 3 * gaps[1] > 0
    centers = [(extent[0] + extent[1]) / 2 for extent in first]
    np.testing.assert_allclose(ax.get_xticks(), centers)
    assert first[0][2] <= _extents(figure)[5][3]  # the second row is below the first: the axis points down


def test_strips_without_a_range_take_that_of_inputs_and_images_together():
    figure = interpolation_strips(_gray(1.0, 2.0)[None], ends=_gray(0.0, 4.0)[None])
    assert _shades(figure) == [0, 64, 128, 255]
    assert _shades(interpolation_strips(_gray(-5.0, 0.5, 9.0)[None], (0, 1))) == [0, 128, 255]


@pytest.mark.parametrize(
    ("shape", "rows", "steps"),
    [
        *((shape, 3, 8) for shape in SHAPES),
        *((shape, 1, steps) for shape in (SHAPES[0], SHAPES[-1]) for steps in (1, 40)),
    ],
)
def test_strips_of_any_samples_fit_the_figure(shape, rows, steps, lies_within):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(rows, steps, *shape, generator=generator)
    ends = torch.rand(rows, 2, *shape, generator=generator)
    figure = interpolation_strips(images, None, ends, ["a long label"] * rows)
    assert len(figure.axes[0].images) == rows * (steps + 2)
    assert lies_within(figure)


def test_names_of_many_steps_do_not_overlap():
    figure = interpolation_strips(torch.rand(1, 40, 1, 8, 8))
    figure.savefig(io.BytesIO())
    shown = [text.get_window_extent() for text in figure.axes[0].get_xticklabels() if text.get_text()]
    assert len(shown) == 2
    assert shown[0].x1 < shown[1].x0


def test_a_sum_of_codes_is_an_equation():
    figure = arithmetic_strip(*_gray(0.0, 0.2, 0.4, 1.0), (0, 1), ("with", "plus", "minus"))
    ax = figure.axes[0]
    assert _shades(figure) == [0, 51, 102, 255]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["with", "plus", "minus", "decoded"]
    assert [text.get_text() for text in ax.texts] == ["+", "−", "="]
    extents = _extents(figure)
    for sign, (left, right) in zip(ax.texts, pairwise(extents), strict=True):
        assert left[1] < sign.get_position()[0] < right[0]


@pytest.mark.parametrize("shape", SHAPES)
def test_equations_of_any_samples_fit_the_figure(shape, lies_within):
    figure = arithmetic_strip(*torch.rand(4, *shape, generator=torch.Generator().manual_seed(0)))
    assert lies_within(figure)


# --- grids ---------------------------------------------------------------------------------------------------------


def test_random_decodes_are_laid_out_row_by_row():
    figure = image_grid(_gray(0.0, 0.2, 0.4, 0.6, 1.0, shape=(1, 28, 28)), 3, (0, 1), "Random codes")
    picture = np.asarray(figure.axes[0].images[0].get_array())
    assert picture[14::29, 14::29, 0].tolist() == [[0, 51, 102], [153, 255, NO_VALUE[0]]]
    assert figure.axes[0].get_title() == "Random codes"


@pytest.mark.parametrize(("shape", "n"), [*((shape, 30) for shape in SHAPES), (SHAPES[0], 1), (SHAPES[-1], 1)])
def test_grids_of_any_samples_fit_the_figure(shape, n, lies_within):
    x = torch.rand(n, *shape, generator=torch.Generator().manual_seed(0))
    assert lies_within(image_grid(x, title="A title"))
    axes = (np.linspace(-1, 1, n), [0.0])
    assert lies_within(plane_grid(x[None], axes, LABELS, title="A title"))


def test_color_stays_color_and_a_vector_is_a_bar_of_its_entries():
    red = np.zeros((1, 3, 32, 32))
    red[:, 0] = 1
    assert np.asarray(image_grid(red, value_range=(0, 1)).axes[0].images[0].get_array())[9, 9].tolist() == [255, 0, 0]
    vector = np.asarray(image_grid(np.linspace(0, 1, 20)[None]).axes[0].images[0].get_array())
    assert [shade for shade in vector[5, 1:-1:2, 0]] == [int(255 * i / 19 + 0.5) for i in range(20)]


def _shade_at(figure: Figure, x: float, y: float) -> int:
    """What stands at a place in the units of the axes."""
    image = figure.axes[0].images[0]
    picture = np.asarray(image.get_array())
    left, right, bottom, top = image.get_extent()
    row = (top - y) / (top - bottom) * len(picture)
    return int(picture[int(row), int((x - left) / (right - left) * picture.shape[1]), 0])


def test_each_image_of_a_plane_stands_about_its_own_code():
    columns, rows = np.array([-2.0, 0.0, 2.0]), np.array([30.0, 10.0])
    images = _gray(0.0, 0.2, 0.4, 0.6, 0.8, 1.0, shape=(1, 28, 28)).reshape(2, 3, 1, 28, 28)
    figure = plane_grid(images, (columns, rows), LABELS, (0, 1), "Decoded")
    shades = [[_shade_at(figure, x, y) for x in columns] for y in rows]
    assert shades == [[0, 51, 102], [153, 204, 255]]
    ax = figure.axes[0]
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title()) == (*LABELS, "Decoded")
    assert ax.get_ylim() == pytest.approx((0, 40))  # half a cell beyond the outer codes, upwards
    assert ax.get_xlim() == pytest.approx((-3, 3))


def test_the_pixels_of_a_plane_are_square_whatever_its_units():
    figure = plane_grid(torch.rand(3, 5, 1, 28, 28), (np.linspace(-1, 1, 5), np.linspace(900, -900, 3)), LABELS)
    figure.savefig(io.BytesIO())
    box = figure.axes[0].get_window_extent()
    height, width = figure.axes[0].images[0].get_array().shape[:2]
    assert box.width / box.height == pytest.approx(width / height, rel=0.01)


def test_a_line_of_codes_has_no_second_axis():
    figure = plane_grid(_gray(0.0, 1.0)[None], (np.array([3.0, 5.0]),), ("latent 0",), (0, 1))
    assert [_shade_at(figure, x, 0.5) for x in (3, 5)] == [0, 255]
    assert len(figure.axes[0].get_yticks()) == 0
    assert figure.axes[0].get_ylabel() == ""


def test_a_plane_of_codes_that_do_not_vary_is_drawn(lies_within):
    assert lies_within(plane_grid(torch.rand(2, 2, 1, 8, 8), (np.array([1.0, 1.0]), np.array([0.0, 0.0])), LABELS))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: interpolation_strips(np.ones((3, 4))), "rows, steps"),
        (lambda: interpolation_strips(np.ones((0, 3, 4))), "rows, steps"),
        (lambda: interpolation_strips(np.ones((2, 3, 4)), ends=np.ones((2, 3, 4))), r"must have the shape \(2, 2, 4\)"),
        (lambda: interpolation_strips(np.ones((2, 3, 4)), labels=["a"]), "2 rows, but 1 labels"),
        (lambda: arithmetic_strip(*np.ones((3, 4)), np.ones(5)), "one shape"),
        (lambda: image_grid(np.ones((0, 1, 4, 4))), "no images"),
        (lambda: plane_grid(np.ones((2, 3, 4)), ([1, 2], [1, 2, 3]), LABELS), "coordinates of their columns and rows"),
        (lambda: plane_grid(np.ones((2, 3, 4)), ([1, 2, 3],), LABELS), "coordinates of their columns and rows"),
        (lambda: plane_grid(np.ones((2, 3)), ([1, 2, 3], [1, 2]), LABELS), "coordinates of their columns and rows"),
    ],
)
def test_what_cannot_be_drawn_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
