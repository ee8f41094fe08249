import numpy as np
import pytest
import torch
from matplotlib.colors import to_hex

from ae_lightning.plots.sparsity import fraction_active, latent_histograms, mean_activations, penalty_history

STEPS = np.array([0, 100, 300])


def _densities(instances=2, latents=3):
    return np.random.default_rng(0).uniform(0, 0.4, (len(STEPS), instances, latents))


def _curves(ax):
    """The lines that are not straight ones across the axes."""
    return [line for line in ax.lines if len(line.get_xdata()) == len(STEPS)]


def _titles(figure):
    return [ax.get_title() for ax in figure.axes]


def _shown(figure):
    return [ax for ax in figure.axes if ax.axison]


# How often latents fire


def test_there_is_a_panel_per_instance_and_a_line_per_latent(lies_within):
    densities = _densities()
    figure = fraction_active(torch.tensor(STEPS), torch.tensor(densities))
    assert _titles(figure) == ["instance 0", "instance 1"]
    for instance, ax in enumerate(figure.axes):
        lines = _curves(ax)
        assert len({line.get_color() for line in lines}) == len(lines) == 3
        for latent, line in enumerate(lines):
            np.testing.assert_array_equal(line.get_xdata(), STEPS)
            np.testing.assert_allclose(line.get_ydata(), densities[:, instance, latent], rtol=1e-6)
    assert lies_within(figure)


def test_all_panels_have_the_same_axes_that_begin_at_zero_and_hold_everything():
    densities = _densities()
    densities[1, 1, 2] = 0.9
    for ax in fraction_active(STEPS, densities).axes:
        assert ax.get_xlim() == (0, 300)
        low, high = ax.get_ylim()
        assert (low, 0.9 < high < 1) == (0, True)
    assert fraction_active(STEPS, densities * 0).axes[0].get_ylim() == (0, 1)
    assert fraction_active(STEPS, densities * 0, 0.5).axes[0].get_ylim()[1] > 0.5


@pytest.mark.parametrize(("probability", "levels"), [(0.1, [0.1]), (torch.tensor([0.2, 0.1, 0.2]), [0.1, 0.2])])
def test_true_probabilities_are_dashed_and_in_the_legend(probability, levels, lies_within):
    figure = fraction_active(STEPS, _densities(), probability)
    for ax in figure.axes:
        dashed = [line.get_ydata()[0] for line in ax.lines if line.get_linestyle() == "--"]
        np.testing.assert_allclose(dashed, levels, rtol=1e-6)
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["true probability of a feature"]
    assert lies_within(figure)


def test_each_instance_can_have_probabilities_of_its_own():
    figure = fraction_active(STEPS, _densities(), [[0.1, 0.2], [0.3, 0.3]])
    levels = [[line.get_ydata()[0] for line in ax.lines if line.get_linestyle() == "--"] for ax in figure.axes]
    np.testing.assert_allclose(levels[0], [0.1, 0.2], rtol=1e-6)
    np.testing.assert_allclose(levels[1], [0.3], rtol=1e-6)


def test_moments_of_resampling_are_vertical_lines():
    figure = fraction_active(STEPS, _densities(), resampled=[50, 250])
    for ax in figure.axes:
        vertical = [line.get_xdata() for line in ax.lines if len(set(line.get_xdata())) == 1]
        assert vertical == [[50, 50], [250, 250]]
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["latents resampled"]
    assert not fraction_active(STEPS, _densities(), resampled=[]).legends


def test_small_fractions_are_told_apart_below_a_peak():
    densities = np.full((3, 2, 2), 0.03)
    densities[:, 0, 0] = 0.0, 0.95, 0.025  # dead, just resampled, trained
    for ax in fraction_active(STEPS, densities, 0.025, resampled=[100]).axes:
        assert ax.get_yscale() == "symlog"
        low, small, high = ax.transAxes.inverted().transform(ax.transData.transform([(0, 0), (0, 0.025), (0, 0.95)]))[
            :, 1
        ]
        assert (low, 0.3 < small < 0.6, 0.9 < high < 1) == (0, True, True)
        assert ax.get_yticks().tolist() == pytest.approx([0, 0.01, 0.1])
    for kept in (densities[:2], densities[::2]):  # the peak is the last moment; there is none
        assert fraction_active(STEPS[:2], kept, 0.025).axes[0].get_yscale() == "linear"
    assert fraction_active([0, 1], [[[0.5]], [[0.0]]]).axes[0].get_yscale() == "linear"


def test_many_latents_are_quantiles_over_them():
    """Of 101 latents that fire on 0, 0.01, … 1 of the samples, quantiles are what is counted off."""
    densities = np.linspace(0, 1, 101)[None, None] * np.array([1, 0.5, 0.1])[:, None, None]
    figure = fraction_active(STEPS, densities)
    (ax,) = figure.axes
    (median,) = ax.lines
    np.testing.assert_allclose(median.get_ydata(), [0.5, 0.25, 0.05], rtol=1e-5)
    for band, (low, high) in zip(ax.collections, ((0.05, 0.95), (0.25, 0.75)), strict=True):
        x, y = band.get_paths()[0].vertices.T
        assert (y[x == 0].min(), y[x == 0].max()) == pytest.approx((low, high))
        assert (y[x == 300].min(), y[x == 300].max()) == pytest.approx((low / 10, high / 10))
    assert figure.legends[0].get_texts()[0].get_text() == "median latent"


def test_a_single_instance_has_no_number_and_titles_can_be_given():
    assert _titles(fraction_active(STEPS, _densities(1))) == [""]
    assert _titles(fraction_active(STEPS, _densities(), titles=["a", "b"])) == ["a", "b"]


def test_a_single_moment_is_drawn_as_points():
    (line, *_) = fraction_active([7], [[[0.5, 0.25]]]).axes[0].lines
    assert (line.get_marker(), line.get_xdata().tolist(), line.get_ydata().tolist()) == ("o", [7], [0.5])


@pytest.mark.parametrize(("instances", "latents"), [(1, 1000), (5, 20), (7, 1)])
def test_panels_are_wrapped_and_the_lowest_of_each_column_says_the_steps(instances, latents, lies_within):
    figure = fraction_active(STEPS, _densities(instances, latents), 0.2)
    assert len(figure.axes) == instances
    assert len({ax.get_position().x0 for ax in figure.axes}) <= 4
    assert lies_within(figure)
    columns = {}
    for ax in figure.axes:  # row by row
        columns[round(ax.get_position().x0, 3)] = ax
    assert all(any(tick.label1.get_visible() for tick in ax.xaxis.get_major_ticks()) for ax in columns.values())


# Terms of the loss


def test_a_term_is_a_panel_with_training_thin_and_validation_thick(lies_within):
    series = {
        "train/reconstruction": ([1, 2, 3], [3.0, 2.0, 1.0]),
        "train/l1": ([1, 2], [0.0, -1.0]),
        "val/reconstruction": (torch.tensor([3]), torch.tensor([0.5])),
    }
    figure = penalty_history(series, "A run")
    assert _titles(figure) == ["reconstruction", "l1"]
    lines = {line.get_label(): line for line in figure.axes[0].lines}
    assert lines["training"].get_xydata().tolist() == [[1, 3], [2, 2], [3, 1]]
    assert lines["validation"].get_xydata().tolist() == [[3, 0.5]]
    assert lines["validation"].get_marker() == "o"
    assert lines["training"].get_linewidth() < 1 < 2 < lines["validation"].get_linewidth()
    assert figure.axes[1].lines[0].get_ydata().tolist() == [0, -1]
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["training", "validation"]
    assert legend.get_title().get_text() == "A run"
    assert lies_within(figure)


@pytest.mark.parametrize(
    ("train", "val", "scale"),
    [
        ([1.0, 5.0], [2.0, 9.0], "linear"),
        ([1.0, 5.0], [2.0, 11.0], "log"),
        ([0.0, 100.0], [1.0, 1.0], "linear"),
        ([-1.0, 100.0], [1.0, 1.0], "linear"),
    ],
)
def test_the_scale_is_logarithmic_where_values_are_positive_and_span_a_decade(train, val, scale, lies_within):
    figure = penalty_history({"train/a": ([1, 2], train), "val/a": ([1, 2], val)})
    assert figure.axes[0].get_yscale() == scale
    assert lies_within(figure)


def test_a_name_without_a_part_of_the_data_is_a_panel_of_its_own():
    figure = penalty_history({"sparsity/l0": ([1], [5.0]), "val/l1": ([1], [2.0]), "penalty_weight": ([1], [0.1])})
    assert _titles(figure) == ["sparsity/l0", "l1", "penalty_weight"]


@pytest.mark.parametrize("terms", [1, 4, 7])
def test_any_number_of_terms_fits_the_figure(terms, lies_within):
    steps = np.arange(1, 200)
    series = {f"{part}/term_{i}": (steps, 10.0 ** (5 * i / steps)) for i in range(terms) for part in ("train", "val")}
    assert lies_within(penalty_history(series))


# Values


def test_the_histogram_of_a_latent_leaves_zeros_out_and_its_title_says_how_often_it_is_active(lies_within):
    z = torch.zeros(200, 3)
    z[:24, 1] = 2.0
    z[:, 2] = torch.linspace(0.5, 1.5, 200)
    z[0, 0] = 0.01
    figure = latent_histograms(z)
    first, second, third, large = _shown(figure)
    assert [ax.get_title() for ax in (first, second, third)] == [
        "#2  100 % active",
        "#1  12 % active",
        "#0  <1 % active",
    ]
    for ax, count in ((first, 200), (second, 24), (third, 1)):
        (steps,) = ax.patches
        assert steps.get_data().values.sum() == count
    counts, edges, _ = second.patches[0].get_data()
    ((at,),) = np.nonzero(counts)
    assert edges[at] < 2.0 <= edges[at + 1]
    assert len({ax.get_xlim() for ax in (first, second, third)}) == 1
    assert first.get_xlim() == (0, 2)
    assert large.get_yscale() == "log"
    assert large.patches[0].get_data().values.sum() == 600
    assert lies_within(figure)


def test_the_large_panel_says_what_is_zero_and_what_is_nearly_zero():
    z = np.ones((1000, 1))
    z[:250] = 0
    z[250:375] = -0.0009
    z[375:400] = 0.0011
    title = _shown(latent_histograms(z))[-1].get_title()
    assert "25.0 % exactly zero" in title
    assert "37.5 % within 0.001" in title
    dense = _shown(latent_histograms(np.ones((10, 2))))[-1].get_title()
    assert "0 % exactly zero, 0 % within" in dense


def test_values_of_a_dense_code_are_all_drawn_and_none_is_said_to_fire():
    z = np.array([[0.5, -0.5], [0.0, 0.25]])
    first, second, large = _shown(latent_histograms(z, [0, 1], sparse=False))
    assert [ax.get_title() for ax in (first, second, large)] == ["#0", "#1", "All values of 2 latents"]
    assert first.patches[0].get_data().values.sum() == 2


def test_dead_latents_of_a_sparse_code_get_no_empty_panel():
    z = np.array([[0.0, 3, 0, 2]]).repeat(5, axis=0)
    assert [ax.get_title().split()[0] for ax in _shown(latent_histograms(z))[:-1]] == ["#1", "#3"]


def test_latents_can_be_chosen_and_the_most_active_are_those_of_the_largest_mean_magnitude():
    z = np.array([[1.0, -3, 0, 2]]).repeat(5, axis=0)
    numbers = [ax.get_title().split()[0] for ax in _shown(latent_histograms(z, most=2))[:-1]]
    assert numbers == ["#1", "#3"]
    chosen = _shown(latent_histograms(z, [2, 0]))[:-1]
    assert [ax.get_title() for ax in chosen] == ["#2  0 % active", "#0  100 % active"]


@pytest.mark.parametrize(
    ("shape", "kind"),
    [
        ((1, 1), torch.zeros),
        ((1, 1), torch.randn),
        ((50, 3), torch.ones),
        ((50, 3), torch.randn),
        ((30, 26), torch.randn),
    ],
)
def test_histograms_fit_the_figure(shape, kind, lies_within):
    figure = latent_histograms(kind(*shape))
    assert lies_within(figure)
    assert len(_shown(figure)) == min(shape[1], 12) + 1


# Means and densities


def test_means_are_sorted_and_the_target_says_how_many_are_near(lies_within):
    figure = mean_activations(torch.tensor([0.1, 0.025, 0.11, 0.05, 0.02]), torch.ones(5), target=0.05)
    ax = figure.axes[0]
    curve, target = ax.lines
    np.testing.assert_allclose(curve.get_ydata(), [0.11, 0.1, 0.05, 0.025, 0.02], rtol=1e-6)
    assert curve.get_xdata().tolist() == [1, 2, 3, 4, 5]
    assert (target.get_linestyle(), target.get_ydata()) == ("--", [0.05, 0.05])
    assert ax.get_legend().get_texts()[0].get_text() == "target 0.05: 3 of 5 latents\nwithin a factor of 2"
    assert ax.get_yscale() == "linear"
    assert lies_within(figure)


def test_without_densities_there_are_only_means():
    assert len(mean_activations([0.1, 0.2]).axes) == 1


def test_means_that_span_a_decade_are_on_a_logarithmic_scale_where_zeros_are_counted():
    ax = mean_activations([0.0, 1.0, 0.05, 0.0], np.ones(4)).axes[0]
    assert ax.get_yscale() == "log"
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [[1, 1], [2, 0.05]], rtol=1e-6)
    assert ax.get_title() == "Mean activation of 4 latents, 2 of them zero"
    assert ax.get_xlim()[1] > 4
    assert mean_activations([-0.1, 1.0, 0.05], np.ones(3)).axes[0].get_yscale() == "linear"


def test_densities_are_counted_by_decade_and_what_never_fires_apart(lies_within):
    densities = torch.tensor([0, 0, 0, 0.001, 0.012, 0.012, 1.0])
    figure = mean_activations(torch.rand(7), densities)
    ax = figure.axes[1]
    histogram, never = ax.containers
    bars = {round(bar.get_x(), 3): bar.get_height() for bar in histogram if bar.get_height()}
    (low, middle, high), counts = bars.keys(), list(bars.values())
    assert counts == [1, 2, 1]
    assert low == -3
    assert -2 <= middle < np.log10(0.012) < middle + 0.2
    assert high + histogram[0].get_width() == 0
    (bar,) = never
    assert bar.get_height() == 3
    assert bar.get_x() + bar.get_width() < min(other.get_x() for other in histogram)
    assert to_hex(bar.get_facecolor()) != to_hex(histogram[0].get_facecolor())
    ticks = {tick.get_text(): place for tick, place in zip(ax.get_xticklabels(), ax.get_xticks(), strict=True)}
    assert bar.get_x() < ticks["never"] < bar.get_x() + bar.get_width()
    assert (ticks["1"], ticks["0.001"]) == (0, -3)
    assert "3" in [text.get_text() for text in ax.texts]
    assert ax.get_title() == "Firing density: 3 of 7 latents never fire"
    assert lies_within(figure)


@pytest.mark.parametrize(
    ("density", "target", "latents"),
    [
        (0.0, None, 1),
        (0.0, 0.01, 2000),
        (1e-6, 0.01, 1),
        (1e-30, None, 1),
        (1e-30, 0.01, 2000),
        (0.3, None, 2000),
        (1.0, 0.01, 1),
    ],
)
def test_every_latent_is_in_a_bar_and_the_figure_holds_all(density, target, latents, lies_within):
    figure = mean_activations(np.linspace(0, 5, latents) ** 8, np.full(latents, density), target)
    assert sum(bar.get_height() for stack in figure.axes[1].containers for bar in stack) == latents
    assert lies_within(figure)


# What cannot be drawn

NAN = np.array([0.5, np.nan])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: fraction_active(STEPS, np.ones((3, 2))), r"\(k, instances, latent\), but theirs is \(3, 2\)"),
        (lambda: fraction_active(STEPS, np.ones((3, 0, 2))), "there are no densities"),
        (lambda: fraction_active(STEPS[:2], _densities()), "3 moments, but 2 steps"),
        (lambda: fraction_active(STEPS, _densities() + 1), "within 0 and 1"),
        (lambda: fraction_active(STEPS, _densities() * np.nan), "must be finite, but 18 of 18"),
        (lambda: fraction_active(STEPS, _densities(), 1.5), "probabilities must lie within"),
        (lambda: fraction_active(STEPS, _densities(), np.ones((3, 2))), r"\(features,\) or \(2, features\)"),
        (lambda: fraction_active(STEPS, _densities(), titles=["a"]), "2 instances, but 1 titles"),
        (lambda: penalty_history({}), "no terms"),
        (lambda: penalty_history({"val/l1": ([], [])}), "no steps of val/l1"),
        (lambda: penalty_history({"val/l1": ([1], [1, 2])}), "val/l1 has 2 values, but 1 steps"),
        (lambda: penalty_history({"val/l1": ([1, 2], NAN)}), "values of val/l1 must be finite, but 1 of 2"),
        (lambda: latent_histograms(np.ones(3)), r"\(n, latent\)"),
        (lambda: latent_histograms(np.ones((0, 3))), "there are no codes"),
        (lambda: latent_histograms(NAN[None]), "finite"),
        (lambda: latent_histograms(np.ones((2, 3)), [0, 3]), r"0 to 2, but \[0, 3\]"),
        (lambda: latent_histograms(np.ones((2, 3)), [-1]), "0 to 2"),
        (lambda: latent_histograms(np.ones((2, 3)), []), "no latents"),
        (lambda: latent_histograms(np.ones((2, 3)), most=0), "no latents"),
        (lambda: mean_activations(np.ones((2, 2)), np.ones(2)), r"\(latent,\)"),
        (lambda: mean_activations(np.ones(3), np.ones(2)), "3 latents, but densities of 2"),
        (lambda: mean_activations(NAN, np.ones(2)), "finite"),
        (lambda: mean_activations(np.ones(2), [-0.1, 1]), "within 0 and 1"),
        (lambda: mean_activations(np.ones(2), np.ones(2), 0), "positive"),
        (lambda: mean_activations(np.ones(2), np.ones(2), np.nan), "positive"),
    ],
)
def test_what_cannot_be_drawn_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
