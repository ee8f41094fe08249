"""What is drawn of vectors: entries and profiles, cosines, recovery and a table."""

import numpy as np
import pytest

from ae_lightning.plots.cosines import decoder_cosines, recovery_figure
from ae_lightning.plots.latent_table import latent_table
from ae_lightning.plots.profiles import vector_reconstructions


def test_entries_are_counted_and_profiles_are_those_of_samples_that_are_not_zero(lies_within):
    x = np.array([[0.0, 0, 0], [1, 2, 3], [3, 2, 1]])
    x_hat = x + np.array([[0.0, 0, 0], [0, 0, 3], [1, 1, 1]])
    figure = vector_reconstructions(x, x_hat)
    entries, _, *profiles = figure.axes
    counts = entries.collections[0].get_array()
    assert np.nansum(counts) == 9
    assert [ax.get_title(loc="left") for ax in profiles] == [
        "#1: squared error per entry 3",
        "#2: squared error per entry 1",
    ]
    for ax, row in zip(profiles, (1, 2), strict=True):
        assert [bar.get_height() for bar in ax.patches] == x[row].tolist()
        assert ax.lines[0].get_ydata().tolist() == x_hat[row].tolist()
    assert lies_within(figure)
    with pytest.raises(ValueError, match="inputs have the shape"):
        vector_reconstructions(x, x_hat[:2])


def test_of_long_vectors_the_first_entries_are_shown(lies_within):
    x = np.random.default_rng(0).normal(size=(2, 500))
    figure = vector_reconstructions(x, x)
    assert len(figure.axes[2].patches) == 64
    assert figure.axes[3].get_xlabel() == "entry, the first 64"
    assert lies_within(figure)


def test_cosines_of_rows_and_how_many_are_close(lies_within):
    figure = decoder_cosines([[1, 0.25], [0.25, 1]], [7, 3], [0.95, 0.25, 0.95], [0.1, 0.1, 0.2])
    matrix, histogram = figure.axes[:2]
    np.testing.assert_array_equal(matrix.images[0].get_array(), [[1, 0.25], [0.25, 1]])
    assert [tick.get_text() for tick in matrix.get_xticklabels()] == ["7", "3"]
    assert [text.get_text() for text in matrix.texts] == ["1.00", "0.25", "0.25", "1.00"]
    assert "2 of 3 have one at a cosine above 0.9" in histogram.get_title()
    assert sum(bar.get_height() for bar in histogram.containers[0]) == 3
    assert lies_within(figure)


def test_recovery_of_one_instance_is_bars_and_of_several_rows(lies_within):
    one = recovery_figure([[0.99, 0.1], [0.2, -0.5]], [4, 0], [[0.99, 0.2]], 0.95)
    bars = one.axes[1]
    assert [bar.get_height() for bar in bars.patches] == pytest.approx([0.99, 0.2])
    assert bars.get_title() == "1 of 2 features are recovered"
    assert [tick.get_text() for tick in one.axes[0].get_xticklabels()] == ["4", "0"]
    several = recovery_figure([[0.99, 0.1], [0.2, -0.5]], [4, 0], [[0.99, 0.2], [0.96, 0.97]], 0.95)
    np.testing.assert_allclose(several.axes[1].images[0].get_array(), [[0.99, 0.2], [0.96, 0.97]], rtol=1e-6)
    assert several.axes[1].get_title() == "best cosine: 1 of 2 instances recover all features"
    assert lies_within(one)
    assert lies_within(several)


def test_a_table_holds_its_cells(lies_within):
    figure = latent_table(["latent", "fires on"], [["#3", "1.00%"], ["#5", "0.25%"]])
    (table,) = figure.axes[0].tables
    cells = [[table[row, column].get_text().get_text() for column in (0, 1)] for row in (0, 1, 2)]
    assert cells == [["latent", "fires on"], ["#3", "1.00%"], ["#5", "0.25%"]]
    assert lies_within(figure)
    with pytest.raises(ValueError, match="2 columns needs rows of as many cells"):
        latent_table(["a", "b"], [["1"]])
