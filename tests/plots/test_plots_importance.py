import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import rgb_to_hsv, to_hex, to_rgb

from ae_lightning.plots.importance import (
    encoder_decoder_cosines,
    importance_against_causal,
    importance_distribution,
    removal_curve,
    top_unit_tracking,
)

STEPS = [0, 10, 500]


def _texts(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.texts]


def _legend(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


class TestDistribution:
    def test_each_moment_is_a_line_of_sorted_importances_and_one_of_their_share(self, lies_within):
        figure = importance_distribution(torch.tensor([[1.0, 3, 0, 4], [20, 10, 30, 40]]), [0, 900], "toy")
        left, right, bar = figure.axes
        assert [line.get_xydata().tolist() for line in left.lines] == [
            [[1, 4], [2, 3], [3, 1]],
            [[1, 40], [2, 30], [3, 20], [4, 10]],
        ]
        early, late, alike = right.lines
        assert early.get_xydata().ravel() == pytest.approx([0, 0, 1, 0.5, 2, 0.875, 3, 1, 4, 1])
        assert late.get_ydata() == pytest.approx([0, 0.4, 0.7, 0.9, 1])
        assert alike.get_xydata().tolist() == [[0, 0], [4, 1]]
        assert figure.get_suptitle() == "toy"
        assert right.get_title() == "Half of it in 2 of 4 units in the end"
        assert left.get_yscale() == "log"
        assert right.get_yscale() == "linear"
        assert [tick.get_text() for tick in bar.get_yticklabels()] == ["0", "900"]
        assert lies_within(figure)

    def test_lines_darken_from_the_first_moment_to_the_last_in_both_panels(self):
        figure = importance_distribution(np.ones((5, 3)), range(5))
        left, right = ([np.sum(line.get_color()[:3]) for line in ax.lines[:5]] for ax in figure.axes[:2])
        assert left == right == sorted(left, reverse=True)

    def test_next_to_nothing_is_counted_and_does_not_stretch_the_axis(self, lies_within):
        figure = importance_distribution([[1, 0.5, 1e-9, 0]], [7])
        ax = figure.axes[0]
        assert "2 of them at most 0.001 of the largest in the end" in ax.get_title()
        assert len(figure.axes) == 2
        assert lies_within(figure)
        wide = importance_distribution([[1, 0.05, 1e-9, 0]], [7]).axes[0]
        assert wide.get_yscale() == "log"
        assert wide.get_ylim()[0] == pytest.approx(1e-3)

    def test_alike_importances_have_a_linear_scale_from_zero(self):
        ax = importance_distribution([[1.0, 1.5, 2]], [0]).axes[0]
        assert ax.get_yscale() == "linear"
        assert ax.get_ylim()[0] == 0

    def test_without_any_importance_there_are_no_shares(self, lies_within):
        figure = importance_distribution(np.zeros((2, 3)), [0, 1])
        assert np.isnan(figure.axes[1].lines[0].get_ydata()[1:]).all()
        assert figure.axes[1].get_title() == ""
        assert lies_within(figure)

    @pytest.mark.parametrize(
        ("importances", "message"),
        [
            ([1.0, 2], "moments, latent"),
            ([[1.0], [2]], "2 moments, but 3 steps"),
            ([[-1.0]] * 3, "must not be negative"),
            ([[np.nan]] * 3, "must be finite"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, importances, message):
        with pytest.raises(ValueError, match=message):
            importance_distribution(importances, STEPS)


class TestTracking:
    # Ranks over time: unit 2 rises to the top, unit 0 falls out of the first two, unit 3 was never there.
    IMPORTANCES = np.array([[9.0, 8, 1, 0], [9, 7, 8, 0], [1, 5, 6, 0]])

    def test_ranks_of_the_units_that_are_on_top_in_the_end(self, lies_within):
        figure = top_unit_tracking(torch.tensor(self.IMPORTANCES), STEPS, k=2)
        ax = figure.axes[0]
        first, second = ax.lines[:2]
        assert first.get_xydata().tolist() == [[0, 3], [10, 2], [500, 1]]
        assert second.get_xydata().tolist() == [[0, 2], [10, 3], [500, 2]]
        assert _texts(ax) == ["2", "1"]
        assert [text.xy for text in ax.texts] == [(500, 1), (500, 2)]
        for text, line in zip(ax.texts, (first, second), strict=True):  # of the hue of its line, but darker
            hues = [rgb_to_hsv(to_rgb(of.get_color())) for of in (text, line)]
            np.testing.assert_allclose(hues[0][:2], hues[1][:2])
            assert hues[0][2] < 0.65
        assert first.get_color() != second.get_color()
        low, high = ax.get_ylim()
        assert low > 3 > 1 > high
        assert ax.get_xlim() == (0, 500)
        assert lies_within(figure)

    def test_units_that_were_once_on_top_are_gray_and_thinner(self):
        ax = top_unit_tracking(self.IMPORTANCES, STEPS, k=2).axes[0]
        (others,) = [artist for artist in ax.collections if isinstance(artist, LineCollection)]
        assert [path.vertices.tolist() for path in others.get_paths()] == [[[0, 1], [10, 1], [500, 3]]]
        color = others.get_color()[0][:3]
        assert color[0] == color[1] == color[2] > 0.7
        assert others.get_linewidth()[0] < ax.lines[0].get_linewidth()
        assert "gray: 1 other, once among the first 2" in ax.get_title()

    def test_the_first_k_ranks_take_more_than_half_of_the_height(self, lies_within):
        importances = np.random.default_rng(0).random((4, 1000))
        figure = top_unit_tracking(importances, [0, 1, 2, 3])
        ax = figure.axes[0]
        assert lies_within(figure)
        bottom, middle, top = ax.transAxes.inverted().transform(ax.transData.transform([(0, 990), (0, 20), (0, 1)]))[
            :, 1
        ]
        assert 0 <= bottom < 0.1
        assert 0.3 < middle < 0.5
        assert 0.9 < top < 1
        places = ax.transData.transform([(0, rank) for rank in range(1, 21)])[:, 1]
        assert -np.diff(places) == pytest.approx(places[0] - places[1])
        labels = {tick.get_text() for tick in ax.get_yticklabels()}
        assert {"1", "5", "20", "100", "500"} <= labels
        assert len(_texts(ax)) == 20

    def test_more_units_than_colors_differ_in_their_line(self):
        lines = top_unit_tracking(np.arange(40.0)[None].repeat(2, 0), [0, 1]).axes[0].lines[:20]
        assert len({(line.get_color(), line.get_linestyle()) for line in lines}) == 20

    @pytest.mark.parametrize("k", [1, 4, 100])
    def test_there_may_be_a_single_moment_and_fewer_units_than_asked_for(self, k, lies_within):
        figure = top_unit_tracking(self.IMPORTANCES[:1], [7], k)
        assert _texts(figure.axes[0]) == ["0", "1", "2", "3"][:k]
        assert lies_within(figure)

    def test_equal_units_are_ranked_by_number(self):
        ax = top_unit_tracking(np.zeros((2, 3)), [0, 1], k=3).axes[0]
        assert [line.get_ydata().tolist() for line in ax.lines[:3]] == [[1, 1], [2, 2], [3, 3]]

    def test_what_does_not_fit_is_refused(self):
        with pytest.raises(ValueError, match="at least one unit"):
            top_unit_tracking(self.IMPORTANCES, STEPS, 0)
        with pytest.raises(ValueError, match="3 moments, but 1 steps"):
            top_unit_tracking(self.IMPORTANCES, [0])


class TestCausal:
    def test_each_unit_is_a_point_and_the_title_gives_the_correlation(self, lies_within):
        figure = importance_against_causal(torch.tensor([1.0, 2, 4]), [0.1, 0.3, 0.2], 0.5)
        ax = figure.axes[0]
        assert ax.collections[0].get_offsets().data == pytest.approx(np.array([[1, 0.1], [2, 0.3], [4, 0.2]]))
        assert ax.get_title() == "Rank correlation 0.500"
        assert (ax.get_xscale(), ax.get_yscale()) == ("linear", "linear")
        assert lies_within(figure)

    @pytest.mark.parametrize(
        ("values", "scale"),
        [
            ([1, 2, 9], "linear"),
            ([0.1, 2, 9], "log"),
            ([0, 2, 9], "symlog"),
            ([-1, 5, 20], "symlog"),
            ([0, 0, 0], "linear"),
        ],
    )
    def test_scales_are_logarithmic_where_their_values_ask_for_it(self, values, scale, lies_within):
        figure = importance_against_causal(np.abs(values), values, 0.0)
        ax = figure.axes[0]
        assert ax.get_yscale() == scale
        low, high = ax.get_ylim()
        assert low < min(values) <= max(values) < high
        assert lies_within(figure)

    def test_units_whose_ranks_differ_most_are_numbered_at_their_point(self, lies_within):
        importance = np.arange(1.0, 101)
        causal = importance.copy()
        causal[[95, 60]] = causal[[60, 95]]
        figure = importance_against_causal(importance, causal, 0.9)
        ax = figure.axes[0]
        assert sorted(_texts(ax)) == ["60", "95"]
        for text in ax.texts:
            unit = int(text.get_text())
            assert text.xy == (importance[unit], causal[unit])
            # It stands on the side away from the others.
            assert np.sign(text.get_position()) == pytest.approx([-1, 1] if unit == 60 else [1, -1])
        assert lies_within(figure)

    def test_units_that_neither_counts_as_important_are_not_numbered(self):
        importance = np.arange(1.0, 101)
        causal = importance.copy()
        causal[[3, 40]] = causal[[40, 3]]
        assert _texts(importance_against_causal(importance, causal, 0.9).axes[0]) == []

    def test_equal_values_have_equal_ranks(self):
        assert _texts(importance_against_causal([2.0, 2, 2, 1], [5.0, 5, 5, 1], 1).axes[0]) == []

    def test_what_does_not_fit_is_refused(self):
        with pytest.raises(ValueError, match="2 units, but causal effects of 3"):
            importance_against_causal([1, 2], [1, 2, 3], 0)
        with pytest.raises(ValueError, match="must be finite"):
            importance_against_causal([1, 2], [1, np.nan], 0)


class TestRemoval:
    def test_errors_over_counts_and_the_baseline_across(self, lies_within):
        figure = removal_curve([0, 5, 10], torch.tensor([0.1, 0.4, 0.9]), 0.75)
        ax = figure.axes[0]
        curve, baseline = ax.lines
        assert curve.get_xydata() == pytest.approx(np.array([[0, 0.1], [5, 0.4], [10, 0.9]]))
        assert list(baseline.get_ydata()) == [0.75, 0.75]
        assert baseline.get_linestyle() == "--"
        assert _legend(ax) == ["most important first", "mean image 0.75"]
        assert ax.get_ylim()[0] == 0
        assert ax.get_ylim()[1] > 0.9
        assert lies_within(figure)

    def test_several_orders_have_their_name_and_color_and_there_may_be_no_baseline(self):
        ax = removal_curve([0, 1], {"by importance": [0, 1], "at random": [0, 0.5]}).axes[0]
        assert _legend(ax) == ["by importance", "at random"]
        assert [line.get_ydata().tolist() for line in ax.lines] == [[0, 1], [0, 0.5]]
        assert ax.lines[0].get_color() != ax.lines[1].get_color()

    def test_what_does_not_fit_is_refused(self):
        with pytest.raises(ValueError, match="2 errors of at random, but 3 counts"):
            removal_curve([0, 1, 2], {"at random": [1, 2]})
        with pytest.raises(ValueError, match="no errors"):
            removal_curve([0, 1, 2], {})


class TestCosines:
    def test_the_histogram_counts_every_unit_within_its_bin(self, lies_within):
        figure = encoder_decoder_cosines(torch.tensor([-1.0, 0.51, 0.52, 1.00001]))
        (ax,) = figure.axes
        heights = {round(bar.get_x(), 3): bar.get_height() for bar in ax.patches if bar.get_height()}
        assert heights == {-1.0: 1, 0.5: 2, 0.975: 1}
        assert ax.get_xlim() == (-1, 1)
        assert ax.lines[0].get_xdata()[0] == pytest.approx(0.515)
        assert _legend(ax) == ["median 0.515"]
        assert lies_within(figure)

    def test_beside_it_are_cosines_against_importance(self, lies_within):
        figure = encoder_decoder_cosines([0.5, -0.2, 0.1], torch.tensor([10.0, 0.1, 0]))
        ax = figure.axes[1]
        assert ax.collections[0].get_offsets().data == pytest.approx(np.array([[10, 0.5], [0.1, -0.2], [0, 0.1]]))
        assert ax.get_xscale() == "symlog"
        low, high = ax.get_ylim()
        assert low < -1 < 1 < high
        assert lies_within(figure)

    @pytest.mark.parametrize(
        ("cosines", "importance", "message"),
        [
            ([[0.5]], None, "latent,"),
            ([], None, "no cosines"),
            ([1.1], None, "within -1 and 1"),
            ([np.nan], None, "finite"),
            ([0.5], [1, 2], "1 units, but importances of 2"),
        ],
    )
    def test_what_does_not_fit_is_refused(self, cosines, importance, message):
        with pytest.raises(ValueError, match=message):
            encoder_decoder_cosines(cosines, importance)


def test_numbered_units_have_the_color_of_their_point():
    ax = importance_against_causal([1.0, 2, 3], [3.0, 2, 1], -1.0).axes[0]
    marked = ax.collections[1]
    assert sorted(map(tuple, marked.get_offsets())) == [(1, 3), (3, 1)]
    assert {to_hex(text.get_color()) for text in ax.texts} == {to_hex(marked.get_facecolor()[0])}
