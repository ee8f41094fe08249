import numpy as np
import pytest

from ae_lightning.plots.factors import factor_matrix


def test_a_row_is_a_factor_and_a_column_a_latent(lies_within) -> None:
    shares = np.array([[0.0, 1.0], [0.25, 0.5], [0.75, 0.125]])
    figure = factor_matrix(shares, [3, 7, 11], ["shape", "x$"], "what latents tell")
    ax = figure.axes[0]
    np.testing.assert_array_equal(np.asarray(ax.images[0].get_array()), shares.T)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["shape", "x$"]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["3", "7", "11"]
    assert [text.get_text() for text in ax.texts] == ["0.00", "0.25", "0.75", "1.00", "0.50", "0.12"]
    assert ax.images[0].get_clim() == (0, 1)
    assert lies_within(figure)


def test_many_latents_have_no_numbers(lies_within) -> None:
    figure = factor_matrix(np.full((100, 5), 0.5), range(100), list("abcde"), "many")
    assert not figure.axes[0].texts
    assert len(figure.axes[0].get_xticks()) == 0
    assert lies_within(figure)


@pytest.mark.parametrize(("shares", "words"), [(np.ones((2, 3)), "2 latents and 2"), (np.full((2, 2), 1.5), "within")])
def test_what_does_not_fit_is_refused(shares, words) -> None:
    with pytest.raises(ValueError, match=words):
        factor_matrix(shares, [0, 1], ["a", "b"], "title")
