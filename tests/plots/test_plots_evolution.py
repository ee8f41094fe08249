import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from ae_lightning.plots.evolution import frame_scale, weight_evolution, weight_frames
from ae_lightning.plots.tiles import NO_VALUE

# Three moments of two units on 2 by 2 pixels: the first grows at the top left, the second sinks at the bottom right.
GROWING = np.zeros((3, 2, 4), dtype=np.float32)
GROWING[:, 0, 0] = (1, 2, 4)
GROWING[:, 1, 3] = (0, -1, -2)
STEPS = [0, 10, 500]
WHITE = [255, 255, 255]


def _cell(figure: Figure, row: int, column: int, columns: int) -> np.ndarray:
    """The picture in a place of the first pair of axes; its extent must say that it is there."""
    image = figure.axes[0].images[row * columns + column]
    left, right, _, top = image.get_extent()
    assert right - left == 1
    assert column <= left < column * 1.2 + 0.1
    others = [other.get_extent() for other in figure.axes[0].images]
    assert sum(other[3] == top for other in others) == columns
    assert sorted({other[3] for other in others}).index(top) == row
    return np.asarray(image.get_array()).astype(int)


def _is_red(color: np.ndarray) -> bool:
    return color[0] > color[2] + 20


def _is_full_red(color: np.ndarray) -> bool:
    return color[0] > 80 and color[1] < 10 and color[2] < 60


def _is_full_blue(color: np.ndarray) -> bool:
    return color[2] > 80 and color[0] < 10


def _rows_and_columns(figure: Figure) -> tuple[list[str], list[str]]:
    ax = figure.axes[0]
    return [tick.get_text() for tick in ax.get_yticklabels()], [tick.get_text() for tick in ax.get_xticklabels()]


def _outliers() -> np.ndarray:
    """Two moments of 10 units: all weights 0.1 and later 1, of which a single one is 100."""
    vectors = np.full((2, 10, 400), 0.1)
    vectors[1] = 1
    vectors[1, 3, 7] = 100
    return vectors


class TestEvolution:
    def test_a_row_is_a_unit_and_a_column_a_moment(self, lies_within):
        figure = weight_evolution(torch.tensor(GROWING), (1, 2, 2), STEPS, [17, 4], title="Decoder")
        assert _rows_and_columns(figure) == (["17", "4"], ["0", "10", "500"])
        assert figure.axes[0].get_xlabel() == "optimizer step"
        assert figure.axes[0].get_ylabel() == "unit"
        assert figure.get_suptitle() == "Decoder"
        assert not figure.axes[0].texts
        early, late = _cell(figure, 0, 1, 3), _cell(figure, 0, 2, 3)
        assert _is_full_red(late[0, 0])
        assert _is_red(early[0, 0])
        assert not _is_full_red(early[0, 0])
        assert late[1, 1].tolist() == early[0, 1].tolist() == WHITE
        sunk = _cell(figure, 1, 2, 3)
        assert sunk[1, 1, 2] > sunk[1, 1, 0] + 20
        assert (_cell(figure, 1, 0, 3) == 255).all()
        assert lies_within(figure)

    def test_ticks_stand_at_the_middle_of_their_cells(self):
        figure = weight_evolution(GROWING, (2, 2), STEPS, [1, 0])
        ax = figure.axes[0]
        for place, image in enumerate(ax.images):
            left, right, bottom, top = image.get_extent()
            assert ax.get_yticks()[place // 3] == pytest.approx((bottom + top) / 2)
            assert ax.get_xticks()[place % 3] == pytest.approx((left + right) / 2)

    def test_with_a_scale_for_each_row_each_has_its_full_color_where_it_is_strongest(self):
        shared = weight_evolution(GROWING, (2, 2), STEPS, [0, 1])
        own = weight_evolution(GROWING, (2, 2), STEPS, [0, 1], shared_scale=False)
        assert not _is_full_blue(_cell(shared, 1, 2, 3)[1, 1])
        assert _is_full_blue(_cell(own, 1, 2, 3)[1, 1])
        assert not _is_full_blue(_cell(own, 1, 1, 3)[1, 1])
        assert shared.axes[1].get_ylabel() == "weight"
        assert shared.axes[1].get_ylim() == pytest.approx((-4, 4))
        assert own.axes[1].get_ylabel() == "weight / scale of row"
        assert own.axes[1].get_ylim() == pytest.approx((-1, 1))

    def test_a_single_large_weight_leaves_the_others_their_color(self):
        figure = weight_evolution(_outliers(), (20, 20), [0, 9], range(10))
        assert figure.axes[1].get_ylim() == pytest.approx((-1, 1))
        assert _is_full_red(_cell(figure, 0, 1, 2)[5, 5])
        assert _is_full_red(_cell(figure, 3, 1, 2)[0, 7])
        assert not _is_full_red(_cell(figure, 0, 0, 2)[5, 5])

    def test_masked_pixels_are_neutral_and_have_no_say_in_the_scale(self):
        vectors = GROWING.copy()
        vectors[:, :, 1] = 100
        figure = weight_evolution(vectors, (2, 2), STEPS, [0, 1], mask=torch.tensor([True, False, True, True]))
        assert _cell(figure, 0, 0, 3)[0, 1].tolist() == list(NO_VALUE)
        assert _is_full_red(_cell(figure, 0, 2, 3)[0, 0])

    def test_what_is_no_image_is_drawn_too(self, lies_within):
        strips = weight_evolution(np.ones((2, 3, 8)), (8,), [0, 1], range(3))
        assert _cell(strips, 2, 1, 2).shape == (1, 8, 3)
        squares = weight_evolution(np.ones((2, 3, 50)), (50,), [0, 1], range(3))
        assert _cell(squares, 0, 0, 2).shape == (7, 8, 3)
        assert _cell(squares, 0, 0, 2)[6, 7].tolist() == list(NO_VALUE)
        channels = weight_evolution(np.ones((2, 3, 20)), (5, 2, 2), [0, 1], range(3))
        assert _cell(channels, 0, 0, 2).shape == (10, 2, 3)
        assert all(lies_within(figure) for figure in (strips, squares, channels))

    def test_colors_have_no_bar(self):
        assert len(weight_evolution(np.ones((2, 1, 12)), (3, 2, 2), [0, 1], [0]).axes) == 1

    @pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
    def test_weights_without_a_magnitude_are_drawn(self, value, lies_within):
        figure = weight_evolution(np.full((2, 1, 4), value), (2, 2), [0, 1], [0])
        assert _cell(figure, 0, 1, 2)[0, 0].tolist() == (WHITE if value == 0 else list(NO_VALUE))
        assert lies_within(figure)

    @pytest.mark.parametrize(
        ("vectors", "steps", "units", "options", "message"),
        [
            (GROWING[0], STEPS, [0, 1], {}, "moments, units, input"),
            (GROWING[:, :0], STEPS, [], {}, "moments, units, input"),
            (GROWING, [0, 1], [0, 1], {}, "3 moments, but 2 steps"),
            (GROWING, STEPS, [0, 1, 2], {}, "units must have the shape"),
            (GROWING, STEPS, [[0, 1]] * 2, {}, "units must have the shape"),
            (GROWING, STEPS, [0, 1], {"mask": [True]}, "mask has 1"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, vectors, steps, units, options, message):
        with pytest.raises(ValueError, match=message):
            weight_evolution(vectors, (2, 2), steps, units, **options)


class TestFrames:
    def test_frames_have_one_size_and_one_scale_for_all(self):
        frames = weight_frames(zip(STEPS, torch.tensor(GROWING), strict=True), (1, 2, 2))
        assert len(frames) == 3
        assert {(frame.shape, frame.dtype) for frame in frames} == {(frames[0].shape, np.dtype(np.uint8))}
        height, width, _ = frames[0].shape
        assert 450 < max(height, width) <= 900
        # The first unit is the left half, and its first pixel the upper left quarter of it.
        colors = [frame[height // 4, width // 8].astype(int) for frame in frames]
        assert [_is_full_red(color) for color in colors] == [False, False, True]
        assert _is_red(colors[1])
        last = frames[2].astype(int)
        assert last[3 * height // 4, width // 8].tolist() == WHITE
        below = last[3 * height // 4, 7 * width // 8]
        assert below[2] > below[0] + 20
        assert not _is_full_blue(below)

    def test_each_weight_is_an_exact_square(self):
        (frame,) = weight_frames([(0, np.arange(16.0)[None])], (4, 4))
        inner = frame[3:-3, 3:-3]
        side = len(inner) // 4
        assert inner.shape == (4 * side, 4 * side, 3)
        for row, column in np.ndindex(4, 4):
            square = inner[row * side : (row + 1) * side, column * side : (column + 1) * side]
            assert len(np.unique(square.reshape(-1, 3), axis=0)) == 1
        assert frame[0, 0].tolist() == list(NO_VALUE)

    def test_units_fill_rows_in_their_order(self):
        vectors = np.zeros((5, 4))
        vectors[4] = 1
        (frame,) = weight_frames([(0, vectors)], (2, 2))
        height, width, _ = frame.shape
        reds = [
            _is_red(frame[height * (2 * r + 1) // 4, width * (2 * c + 1) // 6].astype(int)) for r, c in np.ndindex(2, 3)
        ]
        assert reds == [False, False, False, False, True, False]
        assert frame[3 * height // 4, 5 * width // 6].tolist() == list(NO_VALUE)

    def test_tiles_side_by_side_are_wide_and_fill_a_page(self):
        (frame,) = weight_frames([(0, np.ones((2, 64, 784)))], (1, 28, 28))
        height, width, _ = frame.shape
        assert 1200 < width < 1500
        assert height < 500

    def test_the_scale_is_what_has_full_color(self):
        assert frame_scale(zip(STEPS, GROWING, strict=True), (2, 2)) == 4
        assert frame_scale([(0, [[100.0, 1, 0, 0]])], (2, 2), mask=[False, True, True, True]) == 1

    def test_a_single_large_weight_leaves_the_others_their_color(self):
        frames = weight_frames(enumerate(_outliers()), (20, 20))
        height, width, _ = frames[1].shape
        assert _is_full_red(frames[1][height // 8, width // 8].astype(int))

    def test_masked_pixels_are_neutral_and_have_no_say_in_the_scale(self):
        vectors = np.array([[100.0, 1, 0, 0]])
        (frame,) = weight_frames([(0, vectors)], (2, 2), mask=[False, True, True, True])
        side = len(frame)
        assert frame[side // 4, side // 4].tolist() == list(NO_VALUE)
        assert _is_full_red(frame[side // 4, 3 * side // 4].astype(int))

    def test_large_images_are_not_enlarged_and_vectors_are_tiles_as_well(self):
        (large,) = weight_frames([(0, np.ones((1, 1000 * 1000)))], (1000, 1000))
        assert large.shape == (1006, 1006, 3)
        (strip,) = weight_frames([(0, np.ones((6, 8)))], (8,))
        assert strip.shape[1] <= 900

    @pytest.mark.parametrize(
        ("moments", "message"),
        [
            ([], "no moments"),
            ([(0, np.ones(4))], "step 0"),
            ([(0, np.ones((0, 4)))], "step 0"),
            ([(0, np.ones((2, 4))), (30, np.ones((3, 4)))], "step 30"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, moments, message):
        with pytest.raises(ValueError, match=message):
            weight_frames(moments, (2, 2))
