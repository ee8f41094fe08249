"""Units by structure, and frames of them: what is drawn against the numbers given."""

import numpy as np
import pytest

from ae_lightning.plots.structure import structure_figure
from ae_lightning.plots.unit_frames import unit_frames

STRUCTURE = np.array([0.1, 0.9, -0.3, 0.5])
IMPORTANCE = np.array([1.0, 4.0, 0.0, 2.0])
ROWS = np.eye(4)


def test_units_come_in_the_order_of_their_structure_with_bars_of_their_importance(lies_within):
    figure = structure_figure(STRUCTURE, IMPORTANCE, ROWS, (2, 2), 0.1)
    ranks, beside, images = figure.axes
    assert ranks.lines[0].get_ydata().tolist() == pytest.approx([0.9, 0.5, 0.1, -0.3])
    assert ranks.get_title() == "2 of 4 units rise above noise"  # beyond 0.2, two deviations
    np.testing.assert_allclose(beside.collections[0].get_offsets(), [[1, 0.1], [4, 0.9], [2, 0.5]], rtol=1e-6)
    assert beside.get_xlabel() == "importance, where there is any"
    assert [text.get_text() for text in images.texts] == ["0.90", "0.50", "0.10", "−0.30"]
    brightest = [np.argmin(np.asarray(image.get_array())[..., 1]) for image in images.images]
    assert brightest == [1, 3, 0, 2]  # row i is lit at pixel i
    assert [bar.get_width() for bar in images.patches] == [1, 0.5, 0.25, 0]
    assert lies_within(figure)


def test_of_many_units_some_at_equal_distances_in_rank_are_shown(lies_within):
    values = np.linspace(1, 0, 101)
    history = ([0, 9], np.stack([values, values / 2]))
    figure = structure_figure(values, np.ones(101), np.ones((101, 4)), (2, 2), 0.1, history, most=11)
    _, _, then, images = figure.axes
    assert [text.get_text() for text in images.texts] == [f"{1 - i / 10:.2f}" for i in range(11)]
    assert then.lines[0].get_ydata().tolist() == pytest.approx([0.5, 0.25])
    assert lies_within(figure)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="4 structures, 3 importances and 4 rows"):
        structure_figure(STRUCTURE, IMPORTANCE[:3], ROWS, (2, 2), 0.1)
    with pytest.raises(ValueError, match="of 2 moments, but 1 steps"):
        structure_figure(STRUCTURE, IMPORTANCE, ROWS, (2, 2), 0.1, ([0], np.ones((2, 4))))


def test_frames_hold_the_exact_tiles_a_scale_and_a_dot_that_moves():
    moments = [(step, np.stack([ROWS * size, ROWS * size])) for step, size in ((0, 1.0), (10, 2.0))]
    frames = unit_frames(moments, (2, 2), ("left", "right"), ("step 0", "step 10"), [0.5, 0.01])
    first, second = frames
    assert first.shape == second.shape
    assert first.dtype == np.uint8
    height, width, _ = first.shape
    assert width >= 1200
    orange = [np.argwhere((frame[height - 150 :] == (0xD5, 0x5E, 0)).all(axis=-1)).mean(axis=0) for frame in frames]
    assert orange[0][1] < width / 4 < 3 * width / 4 < orange[1][1]  # to the right with the step
    assert orange[0][0] < orange[1][0]  # and down with the error
    full = [((frame[..., 0] > 80) & (frame[..., 1] < 10) & (frame[..., 2] < 60)).sum() for frame in frames]
    assert full[1] > full[0] + 1000  # the scale is that of the moment when weights are largest
    with pytest.raises(ValueError, match="2 frames, but 1 errors"):
        unit_frames(moments, (2, 2), ("left", "right"), ("a", "b"), [0.5])


def test_images_in_color_have_no_scale():
    rows = [(0, np.ones((2, 3, 12)))]
    frame = unit_frames(rows, (3, 2, 2), ("left", "right"), ("step 0",), [1.0])[0]
    gray = unit_frames([(0, np.ones((2, 3, 12)))], (3, 4), ("left", "right"), ("step 0",), [1.0])[0]
    darkest_blue = [bool((picture == (5, 48, 97)).all(axis=-1).any()) for picture in (frame, gray)]
    assert darkest_blue == [False, True]  # weights are all positive: only a scale has it
