import io
import itertools

import numpy as np
import pytest

from ae_lightning.plots.sweep import SweepPoint, sweep_figure


def point(*values, errors=(0.02,), pca=0.03, exact=False, mean_image=0.07, parameters=1000, seconds=(10.0,)):
    return SweepPoint(values, errors, pca, exact, mean_image, parameters, seconds)


LATENTS = [
    point(2, errors=(0.050, 0.054, 0.055), pca=0.053, parameters=300),
    point(16, errors=(0.011, 0.014, 0.011), pca=0.012, parameters=2000),
    point(128, errors=(0.001, 0.002, 0.003), pca=1e-30, exact=True, parameters=16000),
]


def drawn(figure):
    """The figure laid out as it is saved."""
    figure.savefig(io.BytesIO())
    return figure


def tick_labels(ax):
    return [label.get_text() for label in ax.get_xticklabels()]


def references(ax, style):
    return [line for line in ax.lines if line.get_linestyle() == style and line.get_marker() in ("None", "", None)]


def test_errors_are_means_over_seeds_with_each_seed_as_a_dot_and_a_band():
    ax = drawn(sweep_figure(LATENTS[::-1], ["latent_dim"])).axes[0]
    means = ax.lines[0]
    np.testing.assert_allclose(means.get_xydata(), [[2, 0.053], [16, 0.012], [128, 0.002]])
    bands, *seeds = ax.collections
    edges = bands.get_paths()[0].vertices
    for x, y in ((2, 0.053 + np.sqrt(7) / 1000), (16, 0.012 - np.sqrt(3) / 1000), (128, 0.002 + 0.001)):
        assert np.isclose(edges, [x, y]).all(axis=1).any()
    np.testing.assert_allclose([dots.get_offsets()[:, 1] for dots in seeds], [p.errors for p in LATENTS])
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert tick_labels(ax) == ["2", "16", "128"]
    assert ax.get_xlabel() == "latent_dim"


def test_pca_of_the_same_width_is_dashed_black_and_left_out_where_it_is_exact():
    ax = sweep_figure(LATENTS, ["latent_dim"]).axes[0]
    (pca,) = references(ax, "--")
    assert pca.get_color() == "black"
    np.testing.assert_allclose(pca.get_xydata(), [[2, 0.053], [16, 0.012]])
    assert ax.get_ylim()[0] > 1e-4  # an exact PCA's error would stretch the axis over thirty decades


def test_where_the_width_does_not_vary_pca_is_a_horizontal_line():
    ax = sweep_figure([point("relu"), point("tanh")], ["activation"]).axes[0]
    (pca,) = references(ax, "--")
    assert list(pca.get_xdata()) == [0, 1]  # of the whole axis
    assert list(pca.get_ydata()) == [0.03, 0.03]


def test_lines_of_different_widths_have_their_own_pca():
    points = [point(lr, width, pca=pca) for lr in (0.1, 0.01) for width, pca in ((2, 0.05), (16, 0.01))]
    ax = sweep_figure(points, ["lr", "latent_dim"]).axes[0]
    lines = [line for line in ax.lines if line.get_marker() == "o"]
    pcas = references(ax, "--")
    assert [line.get_color() for line in pcas] == [line.get_color() for line in lines]
    assert [line.get_ydata()[0] for line in pcas] == [0.05, 0.01]


@pytest.mark.parametrize(
    ("values", "scale"), [((2, 16), "linear"), ((2, 20), "linear"), ((2, 21), "log"), ((0, 100), "linear")]
)
def test_numbers_over_more_than_a_factor_of_ten_are_on_a_logarithmic_axis(values, scale):
    ax = sweep_figure([point(value) for value in values], ["x"]).axes[0]
    assert ax.get_xscale() == scale
    assert (ax.get_xlim()[0] < values[0]) & (values[1] < ax.get_xlim()[1])


def test_what_is_no_number_is_a_category_in_the_given_order():
    figure = drawn(sweep_figure([point("tanh", errors=(0.01, 0.03)), point("relu"), point("null")], ["activation"]))
    ax = figure.axes[0]
    assert tick_labels(ax) == ["tanh", "relu", "null"]
    assert ax.lines[0].get_linestyle() == "None"
    (bars,) = ax.containers
    np.testing.assert_allclose(
        bars.lines[2][0].get_segments()[0], [[0, 0.02 - 0.02**0.5 / 10], [0, 0.02 + 0.02**0.5 / 10]]
    )


def test_true_and_false_are_categories_and_not_the_numbers_one_and_zero():
    assert tick_labels(sweep_figure([point("true"), point("false")], ["full"]).axes[0]) == ["true", "false"]


def test_further_keys_are_lines_with_a_legend():
    points = [point(x, lr, model) for x in (1, 2) for lr in (0.1, 0.2) for model in ("a", "b")]
    figure = sweep_figure(points, ["x", "lr", "model"])
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels[:4] == ["lr 0.1, model a", "lr 0.1, model b", "lr 0.2, model a", "lr 0.2, model b"]
    assert len({line.get_color() for line in figure.axes[0].lines if line.get_marker() == "o"}) == 4


def test_many_lines_have_colors_of_their_own():
    figure = sweep_figure([point(1, n) for n in range(12)], ["x", "n"])
    colors = {tuple(line.get_color()) for line in figure.axes[0].lines if line.get_marker() == "o"}
    assert len(colors) == 12


@pytest.mark.parametrize(("mean_image", "is_drawn"), [(0.07, True), (0.7, False)])
def test_the_mean_image_is_drawn_where_it_does_not_squeeze_the_rest(mean_image, is_drawn):
    points = [p._replace(mean_image=mean_image) for p in LATENTS]
    figure = sweep_figure(points, ["latent_dim"])
    ax = figure.axes[0]
    gray = [line for line in ax.lines if line.get_color() == "gray"]
    assert bool(gray) is is_drawn
    low, high = ax.get_ylim()
    assert bool(low < mean_image < high) is is_drawn
    assert high < 0.1
    label = [text.get_text() for text in figure.legends[0].get_texts()][-1]
    assert label == ("mean image" if is_drawn else "mean image 0.7, above")


def test_a_mean_image_that_beats_every_run_is_seen():
    near, far = (sweep_figure([p._replace(mean_image=m) for p in LATENTS], ["latent_dim"]) for m in (0.0008, 1e-6))
    low, high = near.axes[0].get_ylim()
    assert low < 0.0008 < high
    assert [text.get_text() for text in far.legends[0].get_texts()][-1] == "mean image 1e-06, below"


def test_time_and_parameters_have_panels_of_their_own():
    _, seconds, parameters = drawn(sweep_figure(LATENTS, ["latent_dim"])).axes
    np.testing.assert_allclose(parameters.lines[0].get_xydata(), [[2, 300], [16, 2000], [128, 16000]])
    np.testing.assert_allclose(seconds.lines[0].get_ydata(), [10, 10, 10])
    assert parameters.get_yscale() == "log"
    assert seconds.get_ylim()[0] == 0


def test_runs_without_a_recorded_time_say_so():
    _, seconds, _ = drawn(sweep_figure([point(1, seconds=()), point(2, seconds=())], ["x"])).axes
    assert [text.get_text() for text in seconds.texts] == ["not recorded"]


@pytest.mark.parametrize(
    ("points", "keys"),
    [
        (LATENTS, ["latent_dim"]),
        ([point(16)], ["latent_dim"]),
        ([point(errors=(0.01, 0.02))], []),
        ([point("a" * 50), point("b" * 50), point("c" * 50)], ["model"]),
        ([point(2**n, errors=(0.5**n,)) for n in range(14)], ["latent_dim"]),
        ([point(n) for n in range(1, 60)], ["depth"]),
        ([point(name, n) for name in ("relu", "tanh", "leaky_relu", "none") for n in range(9)], ["activation", "n"]),
        ([point(1, errors=(0.0,), pca=0.0, mean_image=0.0)], ["x"]),
        ([point(1, errors=(0.01, 0.09)), point(2, errors=(0.001, 0.2))], ["x"]),  # a band that reaches below zero
    ],
    ids=["numbers", "one", "seeds", "long names", "doubling", "sixty", "two keys", "no error", "wide band"],
)
def test_labels_never_overlap_nor_leave_the_figure(points, keys):
    figure = drawn(sweep_figure(points, keys))
    for ax in figure.axes:
        labels = [label for label in ax.get_xticklabels() if label.get_text() and label.get_visible()]
        boxes = [label.get_window_extent() for label in labels]
        if not any(label.get_rotation() for label in labels):
            assert all(left.x1 < right.x0 for left, right in itertools.pairwise(boxes))
        for box in [*boxes, figure.legends[0].get_window_extent()]:
            assert box.x0 >= 0
            assert box.y0 >= 0
            assert box.x1 <= figure.bbox.x1
    ticks = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len([text for text in ticks if text]) >= 2
