import io

import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

from ae_lightning.plots.scatter import code_scatter

LABELS = ("latent 0", "latent 1")


def _points(n: int, width: int = 2) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(n, width))


def test_classes_have_their_own_colors_and_their_names_at_their_medians():
    places = np.array([(10.0 * (i % 4), 10.0 * (i // 4)) for i in range(10)])
    labels = np.arange(1000) % 10
    figure = code_scatter(places[labels] + 0.1 * _points(1000), torch.tensor(labels), LABELS, "Codes")
    ax = figure.axes[0]
    dots = ax.collections[0]
    nearest = np.argmin(np.linalg.norm(dots.get_offsets()[:, None] - places[None], axis=-1), axis=1)
    colors = [{to_hex(color) for color in dots.get_facecolors()[nearest == i]} for i in range(10)]
    assert [len(group) for group in colors] == [1] * 10
    assert len(set.union(*colors)) == 10
    assert [text.get_text() for text in ax.texts] == [str(i) for i in range(10)]
    np.testing.assert_allclose([text.get_position() for text in ax.texts], places, atol=0.1)
    assert [{to_hex(text.get_bbox_patch().get_facecolor())} for text in ax.texts] == colors
    assert dots.get_rasterized()
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title()) == (*LABELS, "Codes")


def test_names_of_classes_in_the_same_place_do_not_cover_each_other():
    figure = code_scatter(_points(1000), np.arange(1000) % 10, LABELS)
    figure.savefig(io.BytesIO())
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert not [(i, j) for i in range(10) for j in range(i) if boxes[i].overlaps(boxes[j])]


def test_names_are_those_of_the_labels_that_occur():
    figure = code_scatter([[0.0, 0], [1, 1], [1, 1.1], [0, 0.1]], [3, 7, 7, 3], LABELS)
    assert [text.get_text() for text in figure.axes[0].texts] == ["3", "7"]


def test_many_classes_are_shades_with_a_bar():
    figure = code_scatter(_points(100), np.arange(100), LABELS)
    assert len(figure.axes) == 2
    assert figure.axes[1].get_ylim() == pytest.approx((0, 99))
    assert not figure.axes[0].texts
    # The drawing order is another one, so each dot is found by its place.
    dots = figure.axes[0].collections[0]
    dark = np.flatnonzero((dots.get_offsets() == _points(100)[0].astype(np.float32)).all(axis=1))
    assert dots.get_array()[dark].tolist() == [0]


@pytest.mark.parametrize("labels", [None, np.empty((50, 0)), torch.empty(50, 0)])
def test_codes_without_labels_have_one_color(labels):
    figure = code_scatter(_points(50), labels, LABELS)
    assert len(figure.axes[0].collections[0].get_offsets()) == 50
    assert len({tuple(color) for color in figure.axes[0].collections[0].get_facecolors()}) == 1
    assert not figure.axes[0].texts


def test_codes_of_one_number_are_a_strip_per_class():
    codes = np.array([0.0, 1, 2, 3, 4, 5])[:, None]
    ax = code_scatter(codes, [4, 4, 4, 9, 9, 9], ("latent 0",)).axes[0]
    offsets = ax.collections[0].get_offsets()
    assert sorted(offsets[:, 0]) == [0, 1, 2, 3, 4, 5]
    assert [round(y) for _, y in sorted(offsets.tolist())] == [0, 0, 0, 1, 1, 1]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["4", "9"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("latent 0", "class")


def test_codes_of_one_number_are_drawn_against_many_labels_and_without_any_as_a_histogram():
    ax = code_scatter(_points(100, 1), np.linspace(0, 5, 100), ("latent 0",)).axes[0]
    np.testing.assert_allclose(sorted(ax.collections[0].get_offsets()[:, 1]), np.linspace(0, 5, 100), rtol=1e-6)
    histogram = code_scatter(_points(100, 1), None, ("latent 0",)).axes[0]
    assert sum(bar.get_height() for bar in histogram.patches) == 100


def test_codes_that_are_not_finite_are_left_out(lies_within):
    codes = np.array([[0.0, 0], [np.nan, 1], [2, np.inf], [4, 4]])
    figure = code_scatter(codes, [0, 0, 1, 1], LABELS)
    assert sorted(figure.axes[0].collections[0].get_offsets().tolist()) == [[0, 0], [4, 4]]
    assert lies_within(code_scatter(codes[1:3], [0, 1], LABELS))


@pytest.mark.parametrize(  # each pair of two values
    ("n", "width", "classes"),
    [
        *((1, 1, None), (10_000, 2, None), (1, 2, 1), (10_000, 1, 1)),
        *((1, 1, 10), (10_000, 2, 10), (1, 2, 50), (10_000, 1, 50)),
    ],
)
def test_scatters_fit_the_figure(n, width, classes, lies_within):
    labels = None if classes is None else np.arange(n) % classes
    assert lies_within(code_scatter(_points(n, width), labels, LABELS[:width], "A title"))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: code_scatter(np.ones((4, 3)), None, LABELS), "1 or 2"),
        (lambda: code_scatter(np.ones((4, 2)), [1, 2, 3], LABELS), r"labels of shape \(4,\)"),
    ],
)
def test_what_cannot_be_drawn_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
