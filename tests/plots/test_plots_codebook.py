"""Pictures of codebooks: lines of the right heights, and images in their places."""

import numpy as np
import pytest

from ae_lightning.plots.codebook import code_pictures, code_usage


def test_a_line_has_the_shares_of_a_books_codes_and_ends_where_the_rest_is_unused():
    figure = code_usage(np.array([[1, 0, 2, 5], [2, 2, 2, 2]]))
    (ax,) = figure.axes
    first, second, even = ax.lines
    np.testing.assert_allclose(first.get_ydata(), [5 / 8, 2 / 8, 1 / 8])
    np.testing.assert_allclose(second.get_ydata(), [0.25] * 4)
    assert list(even.get_ydata()) == [0.25, 0.25]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["book 0: 3 of 4 codes", "book 1: 4 of 4 codes"]


def test_counts_of_a_book_that_was_not_used_are_refused():
    with pytest.raises(ValueError, match="each book must have been used"):
        code_usage(np.array([[0, 0], [1, 1]]))


def test_each_picture_stands_under_its_number_and_each_row_has_its_name():
    pictures = np.arange(6)[:, None, None] / 6 * np.ones((6, 4, 4))
    figure = code_pictures(pictures, (1, 4, 4), [[7, 3, 1], [9, 2, 0]], ["group 0", "group 1"], (0, 1))
    (ax,) = figure.axes
    shades = [int(image.get_array()[0, 0, 0]) for image in ax.images]
    assert shades == [0, 43, 85, 128, 170, 213]
    tops = [image.get_extent()[3] for image in ax.images]
    assert tops[0] == tops[1] == tops[2] < tops[3]
    assert [text.get_text() for text in ax.texts] == ["#7", "#3", "#1", "#9", "#2", "#0", "group 0", "group 1"]


def test_rows_of_other_lengths_are_refused():
    with pytest.raises(ValueError, match="rows of one length"):
        code_pictures(np.zeros((3, 4, 4)), (4, 4), [[1, 2], [3]], ["a", "b"])
