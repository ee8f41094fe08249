import math
import time

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.quiver import Quiver

from ae_lightning.plots.features import feature_arrows, hidden_states
from ae_lightning.plots.plane import limit_of
from ae_lightning.plots.training_frames import TrainingFrames

GRAY = np.array([0xC4] * 3)
RIGHT, UP, LEFT, DOWN = (1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0)


def _polygon(features: int = 5, instances: int = 1, turn: float = 0.0) -> torch.Tensor:
    angles = turn + 2 * math.pi * torch.arange(features) / features
    return torch.stack([angles.cos(), angles.sin()], dim=-1).repeat(instances, 1, 1)


def _arrows(ax):
    """Start and end points, (n, 2) each, of all arrows of some axes, in the order in which they are drawn."""
    quivers = [child for child in ax.get_children() if isinstance(child, Quiver)]
    starts = np.concatenate([quiver.XY for quiver in quivers])
    return starts, starts + np.concatenate([np.stack([quiver.U, quiver.V], axis=1) for quiver in quivers])


def _pixels(figure, ax, place, beside=0):
    """The colors, 0 to 255, at a place in units of the axes and so many pixels beside it."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    x, y = ax.transData.transform(place)
    picture = np.asarray(canvas.buffer_rgba())
    row, column = len(picture) - 1 - int(y), int(x)
    around = slice(row - beside, row + beside + 1), slice(column - beside, column + beside + 1)
    return picture[around][..., :3].astype(int)


def _pixel(figure, ax, place):
    """The color, 0 to 255, at a place in units of the axes."""
    return _pixels(figure, ax, place)[0, 0]


def _near(pixels, color, within=60):
    return np.abs(np.asarray(pixels).astype(int) - np.asarray(color)).max(axis=-1) <= within


def _red(frame):
    return (frame[..., 0] > 180) & (frame[..., 1] < 70) & (frame[..., 2] < 70)


def _blue(frame):
    # Letters are gray at their edges, and no arrow is.
    return _near(frame, (0x1B, 0x2A, 0x6B), 40) & (frame[..., 2] > frame[..., 0].astype(int) + 40)


def _box(mask):
    """Left, right, top and bottom of the pixels of a mask."""
    rows, columns = np.nonzero(mask)
    return columns.min(), columns.max(), rows.min(), rows.max()


def test_arrows_go_from_the_origin_to_the_features_and_have_their_color_in_all_panels():
    directions = torch.stack([_polygon()[0], 0.5 * _polygon(turn=1.0)[0]])
    figure = feature_arrows(directions, titles=["first", "second"], title="Pentagon")
    assert [ax.get_title() for ax in figure.axes] == ["first", "second"]
    assert figure.get_suptitle() == "Pentagon"
    colors = []
    for ax, expected in zip(figure.axes, directions.numpy(), strict=True):
        starts, ends = _arrows(ax)
        assert not starts.any()
        np.testing.assert_allclose(ends, expected, atol=1e-6)
        colors.append([tuple(_pixel(figure, ax, 0.6 * end)) for end in ends])
    assert np.abs(np.subtract(*colors)).max() < 12
    apart = [np.abs(np.subtract(a, b)).max() for i, a in enumerate(colors[0]) for b in colors[0][:i]]
    assert min(apart) > 40
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == [*(f"feature {i}" for i in range(5)), "length 1"]
    for handle, color in zip(figure.legends[0].legend_handles, colors[0], strict=False):
        assert _near(color, 255 * np.array(to_rgb(handle.get_color())), 12)


def test_arrows_can_be_called_something_else():
    assert "latent 4" in [text.get_text() for text in feature_arrows(_polygon(), name="latent").legends[0].get_texts()]
    figure = feature_arrows(_polygon(40), name="latent")
    assert "latent" in [ax.get_ylabel() for ax in figure.axes]


def test_all_panels_have_one_scale_that_holds_the_longest_arrow():
    directions = torch.stack([_polygon()[0], 3 * _polygon()[0]])
    figure = feature_arrows(directions)
    for ax in figure.axes:
        assert ax.get_aspect() == 1
        assert ax.get_xlim() == ax.get_ylim() == figure.axes[0].get_xlim()
        assert ax.get_xlim()[0] == -ax.get_xlim()[1]
    assert 3 < figure.axes[0].get_xlim()[1] < 4
    assert 1 < feature_arrows(0.01 * directions).axes[0].get_xlim()[1] < 1.5


def test_there_is_a_thin_circle_of_length_one():
    figure = feature_arrows(2 * _polygon())
    ax = figure.axes[0]
    angles = np.linspace(0.2, 6, 9)
    on_it = [_pixel(figure, ax, (math.cos(angle), math.sin(angle))).mean() for angle in angles]
    beside = [_pixel(figure, ax, (1.1 * math.cos(a), 1.1 * math.sin(a))).mean() for a in (0.6, 1.9, 3.1)]
    assert max(on_it) < 250
    assert beside == [255, 255, 255]


@pytest.mark.parametrize("instances", [1, 2])
def test_true_directions_are_gray_and_lie_below(instances):
    behind = torch.tensor([[UP, RIGHT]] * instances)
    figure = feature_arrows(torch.tensor([[RIGHT], [LEFT]]), behind)
    first, second = figure.axes
    assert _pixel(figure, first, (0, 0.5)).tolist() == _pixel(figure, second, (0, 0.5)).tolist() == GRAY.tolist()
    assert not _near(_pixel(figure, first, (0.5, 0)), GRAY)
    assert _pixel(figure, second, (0.5, 0)).tolist() == GRAY.tolist()
    assert "true directions" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_more_features_than_colors_have_shades_and_a_bar():
    figure = feature_arrows(_polygon(40, instances=3))
    *panels, bar = figure.axes
    assert len(panels) == 3
    assert bar.get_ylabel() == "feature"
    assert bar.get_ylim() == (0, 39)
    quiver = next(child for child in panels[0].get_children() if isinstance(child, Quiver))
    assert len({tuple(color) for color in quiver.get_facecolors()}) == 40


@pytest.mark.parametrize(("instances", "rows"), [(1, 1), (8, 1), (9, 2), (12, 2), (17, 3)])
def test_panels_stand_in_rows_of_at_most_eight(instances, rows, lies_within):
    titles = [f"a title of some length {i}" for i in range(instances)]
    figure = feature_arrows(_polygon(7, instances), _polygon(), titles, "A title")
    assert lies_within(figure)
    heights = [round(ax.get_position().y0, 3) for ax in figure.axes]
    counts = [heights.count(height) for height in sorted(set(heights))]
    assert (len(counts), sum(counts)) == (rows, instances)
    assert max(counts) <= 8
    boxes = [ax.title.get_window_extent() for ax in figure.axes]
    assert not [(i, j) for i in range(instances) for j in range(i) if boxes[i].overlaps(boxes[j])]


def test_hidden_states_and_reconstructions_are_dots_that_lines_join():
    hidden = torch.tensor([[RIGHT, UP], [LEFT, DOWN]])
    figure = hidden_states(hidden, 0.5 * hidden, torch.tensor([[(-1.0, 1.0)]]), ["a", "b"], "States")
    for ax, places in zip(figure.axes, hidden.numpy(), strict=True):
        for place in places:
            assert _near(_pixel(figure, ax, place), (0x00, 0x72, 0xB2))
            assert _near(_pixel(figure, ax, 0.5 * place), (0xD5, 0x5E, 0x00))
            assert _pixels(figure, ax, 0.75 * place, beside=1).max(-1).min() < 250  # a line thinner than a pixel
            assert _pixel(figure, ax, 0.25 * place).tolist() == [255, 255, 255]
        assert _pixel(figure, ax, (-0.5, 0.5)).tolist() == GRAY.tolist()
        assert (ax.get_aspect(), ax.get_xlim()) == (1, ax.get_ylim())
    assert [ax.get_title() for ax in figure.axes] == ["a", "b"]
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["hidden states", "reconstructions", "features", "length 1"]


def test_very_many_hidden_states_are_not_joined(lies_within):
    hidden = torch.zeros(12, 1000, 2)
    hidden[..., 0] = 1
    figure = hidden_states(hidden, 0.5 * hidden)
    assert _pixel(figure, figure.axes[0], (0.75, 0)).tolist() == [255, 255, 255]
    assert _near(_pixel(figure, figure.axes[0], (0.5, 0)), (0xD5, 0x5E, 0x00))
    assert lies_within(figure)


def test_the_limit_holds_the_circle_and_every_vector():
    assert 1 < limit_of() <= 1.2
    assert limit_of(torch.tensor([[0.3, -4.0]]), torch.tensor([[2.0, 1.0]])) == pytest.approx(4.4)


def _one(vector, **kwargs):
    return TrainingFrames(1, ("decoder",), limit=2.0, **kwargs).draw({"decoder": torch.tensor([[vector]])})


def test_arrows_of_a_frame_have_their_length_and_their_direction():
    # The last pixels of a tip are too pale to be counted.
    left, right, *middle = _box(_blue(_one(RIGHT)))
    *center, top, bottom = _box(_blue(_one(UP)))
    length = right - left
    assert np.mean(center) == pytest.approx(left, abs=3)
    assert np.mean(middle) == pytest.approx(bottom, abs=3)
    assert bottom - top == pytest.approx(length, abs=3)
    assert _box(_blue(_one((0.5, 0.0))))[:2] == pytest.approx((left, left + length / 2), abs=3)
    assert _box(_blue(_one(LEFT)))[:2] == pytest.approx((left - length, left), abs=3)
    # The panel ends at two, and what is longer ends with it.
    assert _box(_blue(_one((50.0, 0.0))))[:2] == pytest.approx((left, left + 2 * length), abs=6)


def test_columns_are_instances_and_rows_are_in_order():
    frames = TrainingFrames(2, ("encoder", "decoder"), titles=("a", "b"))
    nothing = torch.zeros(2, 1, 2)
    boxes = {}
    for row in ("encoder", "decoder"):
        for instance in range(2):
            directions = {"encoder": nothing, "decoder": nothing.clone()}
            still = frames.draw(directions)
            directions[row] = nothing.index_put((torch.tensor(instance),), torch.tensor([RIGHT]))
            boxes[row, instance] = _box(_blue(frames.draw(directions)) & ~_blue(still))
    lefts, _, tops, _ = (np.array(side).reshape(2, 2) for side in zip(*boxes.values(), strict=True))
    assert (lefts[:, 1] - lefts[:, 0] > 100).all()
    assert (tops[1] - tops[0] > 100).all()
    assert (np.ptp(lefts, axis=0) <= 1).all()
    assert (np.ptp(tops, axis=1) <= 1).all()


def test_marked_latents_are_red_in_all_rows_and_nothing_else_is():
    directions = torch.tensor([[RIGHT, LEFT], [RIGHT, LEFT]])
    frames = TrainingFrames(2, ("encoder", "decoder"))
    rows = {"encoder": 0.8 * directions, "decoder": directions}
    plain = frames.draw(rows)
    assert not _red(plain).any()
    frame = frames.draw(rows, marked=torch.tensor([[False, False], [True, False]]))
    red = _red(frame)
    assert (_blue(plain) | ~_blue(frame)).all()
    assert _blue(plain)[red].mean() > 0.8
    blue = _blue(frame)
    half = frame.shape[1] // 2
    assert not red[:, :half].any()
    assert red[:, half:].sum() == pytest.approx(blue[:, half:].sum(), rel=0.2)
    assert np.nonzero(red)[1].min() > np.nonzero(blue)[1].max() - 6
    upper, lower = np.split(red, [frame.shape[0] // 2])
    assert upper.any()
    assert lower.any()


def test_marked_latents_lie_on_top():
    same = {"decoder": torch.tensor([[RIGHT, RIGHT, RIGHT]])}
    frames = TrainingFrames(1, ("decoder",))
    frame = frames.draw(same, marked=torch.tensor([[True, False, False]]))
    assert _red(frame).sum() > 100
    assert _blue(frame).sum() < 0.1 * _red(frame).sum()


def test_of_three_numbers_the_third_decides_what_is_on_top_and_how_pale_it_is():
    across, away, flat = (0.6, 0.0, 0.8), (0.6, 0.0, -0.8), (0.6, 0.0)
    # A frame of the same arrow in the plane has its place and its full color.
    expected = _blue(_one(flat))
    np.testing.assert_array_equal(_blue(_one(across)), expected)
    pale = _one(away)
    assert not _blue(pale).any()
    assert (pale[expected] < 235).all()
    frames = TrainingFrames(1, ("decoder",), limit=2.0)
    for rows in ([across, away], [away, across]):
        blue = _blue(frames.draw({"decoder": torch.tensor([rows])}))
        assert (blue != expected).sum() < 0.2 * expected.sum()


def test_arrows_of_three_numbers_have_a_legend_that_tells_of_the_pale_ones():
    figure = feature_arrows(torch.tensor([[(1.0, 0.0, 0.0), (0.0, 0.6, -0.8)]]), torch.tensor([[(0.0, 1.0, 0.0)]]))
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts[-1] == "pale: away"
    (arrows,) = [artist for artist in figure.axes[0].findobj(Quiver) if len(artist.U) == 2]
    assert sorted(zip(arrows.U.tolist(), arrows.V.tolist(), strict=True)) == [
        (0, pytest.approx(0.6)),
        (1, 0),
    ]
    plain = feature_arrows(_polygon())
    assert "pale: away" not in [text.get_text() for text in plain.legends[0].get_texts()]


def test_hidden_states_of_a_frame_stand_in_the_last_row_with_their_reconstructions():
    frames = TrainingFrames(2, ("encoder",), "hidden states", limit=2.0)
    hidden = torch.tensor([[RIGHT], [LEFT]])
    frame = frames.draw({"encoder": torch.tensor([[RIGHT]] * 2)}, (hidden, torch.zeros(2, 1, 2)))
    still = frames.draw({"encoder": torch.tensor([[RIGHT]] * 2)}, (100 * hidden, -100 * hidden))
    changed = (frame != still).any(axis=-1)
    arrows = _box(_blue(frame))
    dots = [changed & _near(frame, color, 50) for color in ((0x00, 0x72, 0xB2), (0xD5, 0x5E, 0x00))]
    half = frame.shape[1] // 2
    hidden_left, decoded_left = (_box(mask[:, :half]) for mask in dots)
    hidden_right, decoded_right = (_box(mask[:, half:]) for mask in dots)
    assert hidden_left[2] > arrows[3] + 50
    unit = _box(_blue(frame)[:, :half])
    assert np.mean(decoded_left[:2]) == pytest.approx(unit[0], abs=3)
    assert np.mean(hidden_left[:2]) == pytest.approx(unit[1], abs=6)
    assert np.mean(hidden_right[:2]) - np.mean(decoded_right[:2]) == pytest.approx(unit[0] - unit[1], abs=6)
    between = frame[int(np.mean(hidden_left[2:])), (hidden_left[0] + decoded_left[1]) // 2]
    assert 150 < between.max() < 250


def test_true_directions_are_behind_every_frame():
    frames = TrainingFrames(3, ("decoder",), behind=torch.tensor([[UP]]))
    frame = frames.draw({"decoder": torch.tensor([[RIGHT]] * 3)})
    # A frame whose arrows cover them shows no gray but that of the legend.
    covered = frames.draw({"decoder": torch.tensor([[UP]] * 3)})
    gray = _near(frame, GRAY, 2)
    assert gray.sum() > _near(covered, GRAY, 2).sum() > 0
    assert not (gray & _blue(frame)).any()


def test_a_frame_leaves_nothing_behind_for_the_next_not_even_one_that_is_refused():
    frames = TrainingFrames(2, ("decoder",), "states")
    points = (_polygon(30, 2), 0.5 * _polygon(30, 2))
    first = frames.draw({"decoder": _polygon(5, 2)}, points, torch.ones(2, 5) > 0, "step 0")
    other = frames.draw({"decoder": _polygon(3, 2, turn=1.0)}, (points[1], points[0]), caption="step 100, and on")
    with pytest.raises(ValueError, match="finite"):
        frames.draw({"decoder": _polygon(4, 2)}, (points[0], points[1] * math.nan))
    again = frames.draw({"decoder": _polygon(5, 2)}, points, torch.ones(2, 5) > 0, "step 0")
    assert first.dtype == np.uint8
    assert first.shape == other.shape
    assert (first != other).any()
    np.testing.assert_array_equal(first, again)


def test_captions_and_titles_are_written_and_long_captions_cut():
    directions = {"decoder": _polygon()}
    frames = TrainingFrames(1, ("decoder",))
    plain, long = frames.draw(directions), frames.draw(directions, caption="step 100 " * 40)
    written = _box((plain != long).any(axis=-1))
    assert 0 < written[0] < written[1] < plain.shape[1] - 5
    assert written[3] < 30
    dark = [
        (TrainingFrames(1, ("decoder",), titles=[title]).draw(directions)[:50] < 100).sum() for title in (" ", "tied")
    ]
    assert dark[1] > dark[0] + 20


def test_labels_of_rows_stay_on_the_frame():
    frame = TrainingFrames(16, ("a label of many words that is long", "b"), "hidden and reconstructed").draw(
        {"a label of many words that is long": _polygon(5, 16), "b": _polygon(5, 16)}, (_polygon(9, 16),) * 2
    )
    assert (frame[:, 0] == 255).all()
    assert (frame[:, -1] == 255).all()
    assert (frame[0] == 255).all()
    assert (frame[-1] == 255).all()


def test_a_frame_of_a_dozen_instances_is_drawn_in_time():
    frames = TrainingFrames(12, ("encoder", "decoder"), "hidden states", behind=_polygon())
    rows, points = {"encoder": _polygon(5, 12), "decoder": _polygon(5, 12)}, (_polygon(200, 12),) * 2
    seconds = []
    for _ in range(5):
        start = time.process_time()
        frames.draw(rows, points)
        seconds.append(time.process_time() - start)
    assert min(seconds) < 0.3


FRAMES = TrainingFrames(2, ("decoder",))
PENTAGONS = _polygon(5, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: feature_arrows(torch.ones(2, 5, 4)), r"directions .* \(instances, n, 2\).* \(2, 5, 4\)"),
        (lambda: feature_arrows(torch.ones(5, 2)), r"\(5, 2\)"),
        (lambda: feature_arrows(torch.ones(0, 5, 2)), r"\(0, 5, 2\)"),
        (lambda: feature_arrows(PENTAGONS * math.inf), "directions must be finite"),
        (lambda: feature_arrows(PENTAGONS, PENTAGONS * math.nan), "directions behind must be finite"),
        (lambda: feature_arrows(PENTAGONS, _polygon(5, 3)), "2 instances or of one for all, not of 3"),
        (lambda: feature_arrows(PENTAGONS, titles=["a"]), "2 instances, but 1 titles"),
        (lambda: hidden_states(PENTAGONS, _polygon(4, 2)), r"\(2, 5, 2\) cannot have reconstructions of .*\(2, 4, 2\)"),
        (lambda: hidden_states(PENTAGONS, PENTAGONS, torch.ones(1, 5, 1)), r"\(1, 5, 1\)"),
        (lambda: TrainingFrames(0, ("decoder",)), "instances"),
        (lambda: TrainingFrames(2, ()), "rows"),
        (lambda: TrainingFrames(2, ("a", "b"), "a"), "different labels"),
        (lambda: TrainingFrames(2, ("a",), limit=math.nan), "limit"),
        (lambda: TrainingFrames(2, ("a",), behind=_polygon(5, 3)), "not of 3"),
        (lambda: TrainingFrames(2, ("a",), titles="abc"), "3 titles"),
        (lambda: FRAMES.draw({"encoder": PENTAGONS}), r"\['decoder'\].*\['encoder'\]"),
        (lambda: FRAMES.draw({"decoder": PENTAGONS}, (PENTAGONS, PENTAGONS)), "no points"),
        (lambda: FRAMES.draw({"decoder": _polygon(5, 3)}), "2 instances, but what is drawn has 3"),
        (lambda: FRAMES.draw({"decoder": PENTAGONS}, marked=torch.ones(2, 4)), r"\(2, 5\), but theirs is \(2, 4\)"),
    ],
)
def test_what_cannot_be_drawn_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
