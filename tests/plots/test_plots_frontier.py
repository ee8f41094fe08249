"""The figure of error over L0, read back from what is drawn."""

import io

import numpy as np
import pytest

from ae_lightning.plots.frontier import FrontierPoint, frontier

TOPK = [FrontierPoint([32.0], [0.10]), FrontierPoint([16.0], [0.20])]
JUMP = [FrontierPoint([15.0, 17.0], [0.18, 0.24]), FrontierPoint([31.0, 33.0], [0.09, 0.11])]


def test_points_are_means_over_seeds_in_the_order_of_l0_with_a_bar_in_each_direction():
    figure = frontier({"TopK": TOPK, "JumpReLU": JUMP}, [(16, 0.4), (32, 0.25)])
    figure.savefig(io.BytesIO())
    ax = figure.axes[0]
    topk, jump = ax.containers
    np.testing.assert_allclose(topk.lines[0].get_xydata(), [[16, 0.2], [32, 0.1]])
    np.testing.assert_allclose(jump.lines[0].get_xydata(), [[16, 0.21], [32, 0.10]])
    across, along = (bars.get_segments() for bars in jump.lines[2])
    np.testing.assert_allclose(across[0][:, 0], [16 - 2**0.5, 16 + 2**0.5])
    np.testing.assert_allclose(along[0][:, 1], [0.21 - 0.0018**0.5, 0.21 + 0.0018**0.5])
    dashed = [line for line in ax.lines if line.get_linestyle() == "--"]
    np.testing.assert_allclose(dashed[0].get_xydata(), [[16, 0.4], [32, 0.25]])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["PCA", "TopK", "JumpReLU"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["16", "32"]


def test_the_legend_says_what_bars_are_where_there_are_any():
    assert frontier({"TopK": TOPK, "JumpReLU": JUMP}).legends[0].get_title().get_text() == (
        "bars: ± one standard deviation"
    )
    assert frontier({"TopK": TOPK}).legends[0].get_title().get_text() == ""


def test_colors_markers_and_styles_tell_all_lines_apart():
    figure = frontier({str(number): TOPK for number in range(15)})
    lines = [drawn.lines[0] for drawn in figure.axes[0].containers]
    assert len({(line.get_color(), line.get_marker()) for line in lines}) == 7
    assert len({(line.get_color(), str(line._dash_pattern)) for line in lines}) == 15


@pytest.mark.parametrize(
    ("l0", "labels"),
    [
        ([0.42, 3.0, 3.1, 64.2], ["0.4", "3", "64"]),
        ([1.5**n for n in range(20)], None),
    ],
)
def test_labels_of_l0_are_apart_and_never_zero(l0, labels):
    figure = frontier({"TopK": [FrontierPoint([at], [0.1 + 0.001 * at]) for at in l0]})
    figure.savefig(io.BytesIO())
    ax = figure.axes[0]
    found = [label.get_text() for label in ax.get_xticklabels()]
    assert labels is None or found == labels
    assert len(found) <= 13
    assert "0" not in found


def test_errors_that_hardly_differ_are_labeled_too():
    figure = frontier({"TopK": [FrontierPoint([8.0], [0.212]), FrontierPoint([16.0], [0.209])]})
    figure.savefig(io.BytesIO())
    low, high = figure.axes[0].get_ylim()
    assert sum(low <= tick <= high for tick in figure.axes[0].get_yticks()) >= 2


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ({}, "no kinds of dictionaries"),
        ({"TopK": []}, "no points of TopK"),
        ({"TopK": [FrontierPoint([16.0], [0.0])]}, "runs of TopK must be positive"),
        ({"TopK": [FrontierPoint([16.0], [float("nan")])]}, "runs of TopK must be finite"),
    ],
)
def test_what_cannot_be_drawn_is_a_sentence(lines, complaint):
    with pytest.raises(ValueError, match=complaint):
        frontier(lines)
