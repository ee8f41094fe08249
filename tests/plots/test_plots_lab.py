"""The figures of a lab, read back from what is drawn."""

import io
import math

import numpy as np
import pytest
from matplotlib.collections import LineCollection

from ae_lightning.plots.lab_scores import Kinds, Reached, Reaching, missed, reached
from ae_lightning.plots.lab_truths import Family, families, forest, match_matrices


def drawn(figure):
    figure.savefig(io.BytesIO())
    return figure


def test_at_one_l0_models_stand_below_each_other_with_intervals_and_seeds():
    models = {
        "low": Reaching([Reached(4, 0.2, 0.05, [0.15, 0.25])]),
        "oracle": Reaching([Reached(4, 0.9, math.nan, [0.9])], is_baseline=True),
    }
    figure = drawn(reached({"MCC": models, "F1": {"low": Reaching([Reached(4, 0.1, 0.01, [0.1, 0.1])])}}))
    left, right = figure.axes
    assert [label.get_text() for label in left.get_yticklabels()] == ["low", "oracle"]  # from below
    low, oracle = left.containers
    np.testing.assert_allclose(low.lines[0].get_xydata(), [[0.2, 0]])
    np.testing.assert_allclose(low.lines[2][0].get_segments()[0][:, 0], [0.15, 0.25])
    np.testing.assert_allclose(oracle.lines[0].get_xydata(), [[0.9, 1]])
    np.testing.assert_allclose(left.lines[0].get_xdata(), [0.15, 0.25])
    assert oracle.lines[0].get_color() != low.lines[0].get_color()
    assert [ax.get_title() for ax in (left, right)] == ["MCC", "F1"]
    assert "small dots: seeds" in figure.get_supxlabel()


def test_wide_intervals_of_few_seeds_do_not_press_together_what_was_found():
    models = {"unsure": Reaching([Reached(4, 0.6, 5.0, [0.2, 1.0])]), "sure": Reaching([Reached(4, 0.1, 0.05, [0.1])])}
    figure = drawn(reached({"absorption": models, "MCC": {"sure": Reaching([Reached(4, 0.1, 0.05, [0.0, 0.2])])}}))
    cut, whole = figure.axes
    np.testing.assert_allclose(cut.get_xlim(), [0.1 - 0.45 - 0.045, 1.0 + 0.45 + 0.045])
    assert whole.get_xlim()[0] < 0.0 < 0.2 < whole.get_xlim()[1]
    assert "bars without an end go on" in figure.get_supxlabel()


def test_over_several_l0s_each_model_is_a_line_in_their_order():
    points = [Reached(16, 0.8, 0.1, [0.7, 0.9]), Reached(4, 0.5, 0.2, [0.4, 0.6])]
    figure = drawn(reached({"MCC": {"topk": Reaching(points), "PCA": Reaching(points[:1], is_baseline=True)}}))
    topk, _ = figure.axes[0].containers
    np.testing.assert_allclose(topk.lines[0].get_xydata(), [[4, 0.5], [16, 0.8]])
    np.testing.assert_allclose(topk.lines[2][0].get_segments()[0][:, 1], [0.3, 0.7])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["topk", "PCA"]
    assert figure.axes[0].get_xscale() == "log"
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()] == ["4", "16"]


def test_kinds_of_truths_share_rows_and_colors():
    frequency = Kinds("probability", [0.01, 0.1, 0.4], True, {"a": [0.1, 0.5, 0.9], "b": [0.2, math.nan, 1.0]})
    depth = Kinds("depth", [0, 1], False, {"a": [0.9, 0.4], "b": [1.0, 0.3]})
    figure = drawn(missed({"F1": [frequency, depth], "cosine": [frequency]}))
    first, second, third, hidden = figure.axes
    np.testing.assert_allclose(first.lines[0].get_ydata(), [0.1, 0.5, 0.9])
    assert (first.get_xscale(), second.get_xscale()) == ("log", "linear")
    assert first.lines[1].get_color() == second.lines[1].get_color() == third.lines[1].get_color()
    assert not hidden.get_visible()


def test_a_bright_cosine_is_not_lost_among_blocks():
    cosines = np.zeros((1000, 700))
    cosines[517, 333] = -0.9
    figure = drawn(match_matrices({"a": cosines}))
    (image,) = figure.axes[0].images
    shown = np.asarray(image.get_array())
    assert shown.shape == (250, 234)
    assert shown[517 // 4, 333 // 3] == pytest.approx(0.9)
    assert shown.sum() == pytest.approx(0.9)
    assert tuple(image.get_extent()) == (0, 700, 1000, 0)


def test_a_family_has_names_and_numbers():
    family = Family([[0.9, -0.4], [0.5, 0.8]], ["latent of parent", "latent of child 3"], ["parent", "child 3"])
    figure = drawn(families({"topk": family}))
    ax = figure.axes[0]
    assert [text.get_text() for text in ax.texts] == ["0.90", "−0.40", "0.50", "0.80"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["parent", "child 3"]
    with pytest.raises(ValueError, match="names of 2 latents and 1 truths"):
        families({"topk": family._replace(truths=["parent"])})


def test_trees_have_parents_above_the_middle_of_their_children():
    parents = [-1, 0, 0, 1, 1, -1]
    figure = drawn(forest(parents, {"a": [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]}))
    ax = figure.axes[0]
    lines, dots = ax.collections
    assert isinstance(lines, LineCollection)
    places = dots.get_offsets()
    np.testing.assert_allclose(places[:, 1], [0, -1, -1, -2, -2, 0])
    np.testing.assert_allclose(places[:, 0], [1.25, 0.5, 2, 0, 1, 3.7])
    assert len(lines.get_segments()) == 4
    np.testing.assert_allclose(lines.get_segments()[2], [places[3], places[1]])
    np.testing.assert_allclose(dots.get_array(), [0.0, 0.2, 0.4, 0.6, 0.8, 1.0], atol=1e-6)


@pytest.mark.parametrize("make", [reached, missed, match_matrices, families])
def test_nothing_to_draw_is_refused(make):
    with pytest.raises(ValueError, match="there are no"):
        make({})
