import numpy as np
import pytest
import torch
from matplotlib.axes import Axes

from ae_lightning.analysis import spectrum as analysis
from ae_lightning.plots.spectrum import effective_rank_history, spectrum


def _legend(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


class TestSpectrum:
    def test_singular_values_over_their_index_largest_first(self, lies_within):
        figure = spectrum({"encoder": torch.tensor([1.0, 100, 10]), "decoder": [5, 5, 5, 5]}, "MNIST")
        ax = figure.axes[0]
        encoder, decoder = ax.lines
        assert encoder.get_xydata().tolist() == [[1, 100], [2, 10], [3, 1]]
        assert decoder.get_xydata().tolist() == [[1, 5], [2, 5], [3, 5], [4, 5]]
        assert ax.get_yscale() == "log"
        assert ax.get_title() == "MNIST"
        left, right = ax.get_xlim()
        assert left < 1 < 4 < right
        assert encoder.get_color() != decoder.get_color()
        assert lies_within(figure)

    def test_those_at_initialization_are_dashed_in_the_same_color(self):
        ax = spectrum({"encoder": [3, 1], "decoder": [3, 2]}, initial={"decoder": [2, 2]}).axes[0]
        styles = {line.get_label().split(",")[0]: (line.get_color(), line.get_linestyle()) for line in ax.lines}
        assert list(styles) == ["encoder", "decoder at initialization", "decoder"]
        assert [style for _, style in styles.values()] == ["-", "--", "-"]
        assert styles["decoder"][0] == styles["decoder at initialization"][0] != styles["encoder"][0]

    def test_the_legend_gives_the_effective_rank_of_the_matrix(self):
        matrix = torch.randn(6, 9, generator=torch.Generator().manual_seed(0))
        values = analysis.singular_values(matrix)
        rank = float(analysis.effective_rank(matrix))
        ax = spectrum({"encoder": values, "tied": [1, 1, 0, 0], "zero": [0.0]}).axes[0]
        assert _legend(ax) == [
            f"encoder, effective rank {rank:.1f} of 6",
            "tied, effective rank 2.0 of 4",
            "zero, effective rank 0.0 of 1",
        ]

    def test_the_axis_ends_where_values_are_noise(self, lies_within):
        figure = spectrum({"encoder": [10, 1, 1e-3, 1e-12, 0]})
        low, high = figure.axes[0].get_ylim()
        assert 1e-4 < low < 1e-3
        assert 10 < high < 20
        assert lies_within(figure)

    @pytest.mark.parametrize("values", [[1.0, 1.5, 2], [0, 0]])
    def test_alike_values_have_a_linear_scale_from_zero(self, values, lies_within):
        figure = spectrum({"encoder": values})
        assert figure.axes[0].get_yscale() == "linear"
        assert figure.axes[0].get_ylim()[0] == 0
        assert lies_within(figure)

    @pytest.mark.parametrize(
        ("values", "initial", "message"),
        [
            ({}, None, "no singular values"),
            ({"encoder": [[1]]}, None, "singular values of encoder"),
            ({"encoder": [-1]}, None, "must not be negative"),
            ({"encoder": [np.nan]}, None, "must be finite"),
            ({"encoder": [1]}, {"decoder": [1]}, "decoder"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, values, initial, message):
        with pytest.raises(ValueError, match=message):
            spectrum(values, initial=initial)


class TestHistory:
    def test_ranks_over_steps_below_the_largest_they_can_be(self, lies_within):
        figure = effective_rank_history(
            [0, 10, 20], {"encoder": [60, 50, 40], "decoder": torch.tensor([6.0, 5, 4])}, 64
        )
        ax = figure.axes[0]
        encoder, decoder, full = ax.lines
        assert encoder.get_xydata().tolist() == [[0, 60], [10, 50], [20, 40]]
        assert decoder.get_ydata().tolist() == [6, 5, 4]
        assert list(full.get_ydata()) == [64, 64]
        assert full.get_linestyle() == "--"
        assert _legend(ax) == ["encoder", "decoder", "full rank 64"]
        low, high = ax.get_ylim()
        assert low < 4 < 64 < high
        assert lies_within(figure)

    def test_what_is_not_finite_is_left_out_and_so_may_be_the_maximum(self):
        ax = effective_rank_history([0, 10, 20], {"encoder": [60, np.nan, 40]}).axes[0]
        assert [line.get_xydata().tolist() for line in ax.lines] == [[[0, 60], [20, 40]]]

    def test_what_does_not_fit_is_refused(self):
        with pytest.raises(ValueError, match="2 steps, but ranks of encoder"):
            effective_rank_history([0, 1], {"encoder": [1]})
        with pytest.raises(ValueError, match="no ranks"):
            effective_rank_history([0, 1], {})
