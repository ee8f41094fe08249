import numpy as np
import pytest

from ae_lightning.plots.sources import relative_norm_figure


def heights(figure, number=0):
    return np.array([patch.get_height() for patch in figure.axes[0].patches])


def test_two_sources_are_drawn_by_the_part_of_the_second():
    relative = np.array([[1.0, 0.0]] * 3 + [[0.51, 0.49]] * 2 + [[0.0, 1.0]])
    counts = heights(relative_norm_figure(relative))
    assert counts.sum() == 6
    assert (counts[0], counts[24], counts[-1]) == (3, 2, 1)


def test_more_sources_have_a_line_each():
    figure = relative_norm_figure(np.full((7, 3), 1 / 3))
    assert [text.get_text() for text in figure.axes[0].get_legend().get_texts()] == ["source 0", "source 1", "source 2"]


def test_numbers_that_are_none_are_refused():
    with pytest.raises(ValueError, match="relative norms"):
        relative_norm_figure(np.array([[np.nan, 1.0]]))
