"""What is drawn of latents that come to stand for truths: the numbers given, each in its place."""

import math

import numpy as np
import pytest

from ae_lightning.plots.truths import latent_history, truth_history

STEPS = [0, 10, 1000]


def test_of_a_few_truths_each_has_a_line_and_their_mean_is_dashed(lies_within):
    figure = truth_history(STEPS, [[0.2, 0.4], [0.9, 0.5], [1.0, 0.0]], "the first of 3 instances")
    (ax,) = figure.axes
    assert [(line.get_label(), pytest.approx(list(line.get_ydata()))) for line in ax.lines] == [
        ("truth 0", [0.2, 0.9, 1.0]),
        ("truth 1", [0.4, 0.5, 0.0]),
        ("mean (MCC)", [0.3, 0.7, 0.5]),
    ]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["0", "10", "1,000"]
    assert lies_within(figure)


def test_of_many_truths_each_has_a_row_the_best_in_the_end_on_top(lies_within):
    cosines = np.zeros((3, 11))
    cosines[:, 4] = [0.1, 0.2, 0.9]
    cosines[:, 7] = [0.6, 0.5, 1.0]
    figure = truth_history(STEPS, cosines)
    rows = np.asarray(figure.axes[0].images[0].get_array())
    np.testing.assert_allclose(rows[:3], [[0.6, 0.5, 1.0], [0.1, 0.2, 0.9], [0, 0, 0]], rtol=1e-6)
    median, mean = figure.axes[1].lines
    assert list(median.get_ydata()) == [0, 0, 0]
    assert list(mean.get_ydata()) == pytest.approx([0.7 / 11, 0.7 / 11, 1.9 / 11])
    assert lies_within(figure)


def test_births_and_swaps_stand_above_zero_and_deaths_below(lies_within):
    figure = latent_history(STEPS, [1, 3, 2], born=[3, 0], died=[1, 1], swapped=[0, 2], most=4)
    left, right = figure.axes
    assert list(left.lines[0].get_ydata()) == [1, 3, 2]
    assert left.lines[1].get_ydata()[0] == 4
    bars = [(bar.get_x() + bar.get_width() / 2, bar.get_y(), bar.get_height()) for bar in right.patches]
    assert bars == [pytest.approx(bar) for bar in [(0.5, 0, 3), (1.5, 0, 0), (0.5, 3, 0), (1.5, 0, 2)]] + [
        pytest.approx(bar) for bar in [(0.5, 0, -1), (1.5, 0, -1)]
    ]
    assert [text.get_text() for text in right.get_legend().get_texts()] == [
        "born: 3 in all",
        "went to another truth: 2 in all",
        "died: 2 in all",
    ]
    assert lies_within(figure)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: truth_history(STEPS, np.zeros((2, 5))), "of 3 moments, but they are of 2"),
        (lambda: truth_history(STEPS, np.full((3, 5), 1.5)), "within 0 and 1"),
        (lambda: truth_history(STEPS, np.full((3, 5), math.nan)), "finite"),
        (lambda: latent_history([0], [1], [], [], [], 2), "two moments"),
        (lambda: latent_history(STEPS, [1, 2], [1, 1], [0, 0], [0, 0], 2), "of 3 moments, but they are of 2"),
        (lambda: latent_history(STEPS, [1, 2, 2], [1, 1], [0], [0, 0], 2), "died must be those of 2 moments"),
    ],
)
def test_what_cannot_be_drawn_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
