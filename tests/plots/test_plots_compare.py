"""Curves of several runs: panels, colors, means over seeds, and a legend that can be read."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ae_lightning.plots.compare import comparison_curves, distinct_labels, shorten_middle

LOSS = "validation loss"


def curve(*values: float, first: int = 0) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(first, first + len(values)) * 10, np.array(values)


def panels(figure: Figure) -> dict[str, Axes]:
    return {ax.get_title(): ax for ax in figure.axes if ax.axison}


def legend(figure: Figure) -> dict[str, Any]:
    (only,) = figure.legends
    return {text.get_text(): line for text, line in zip(only.get_texts(), only.get_lines(), strict=True)}


def test_each_quantity_is_a_panel_and_each_run_a_line_of_one_color(lies_within: Callable[[Figure], bool]) -> None:
    curves = {
        LOSS: {"a": curve(1.0, 0.1, 0.01), "b": curve(2.0, 1.0)},
        "probe": {"b": curve(0.5, 0.7)},
        "rank": {},
        "dead": {"a": curve(np.nan, np.nan)},
    }
    figure = comparison_curves(curves)
    shown = panels(figure)
    assert list(shown) == [LOSS, "probe"]
    first, second = shown[LOSS].lines
    assert first.get_xdata() == pytest.approx([0, 10, 20])
    assert first.get_ydata() == pytest.approx([1.0, 0.1, 0.01])
    assert second.get_ydata() == pytest.approx([2.0, 1.0])
    assert (shown[LOSS].get_yscale(), shown["probe"].get_yscale()) == ("log", "linear")
    colors = {name: line.get_color() for name, line in legend(figure).items()}
    assert colors == {"a": first.get_color(), "b": second.get_color()}
    assert len(set(colors.values())) == 2
    assert shown["probe"].lines[0].get_color() == colors["b"]
    assert lies_within(figure)


def test_seeds_are_thin_and_their_mean_at_the_steps_that_all_have_is_thick(lies_within: Callable[..., bool]) -> None:
    curves = {LOSS: {"a0": curve(1.0, 2.0, 3.0), "a1": curve(4.0, 5.0, first=1), "b": curve(1.0)}}
    figure = comparison_curves(curves, {"a0": "a", "a1": "a"})
    one, two, mean, other = panels(figure)[LOSS].lines
    assert mean.get_xdata() == pytest.approx([10, 20])
    assert mean.get_ydata() == pytest.approx([3.0, 4.0])
    assert one.get_color() == two.get_color() == mean.get_color() != other.get_color()
    assert one.get_linewidth() == two.get_linewidth() < 1 < 2 < mean.get_linewidth()
    assert other.get_marker() == "o"  # or a single value would not be seen
    assert list(legend(figure)) == ["a", "b", "thin: single seeds"]
    assert lies_within(figure)


def test_seeds_without_a_common_step_have_no_mean() -> None:
    figure = comparison_curves({LOSS: {"a": curve(1.0), "b": curve(2.0, first=1)}}, {"a": "x", "b": "x"})
    assert len(panels(figure)[LOSS].lines) == 2


def test_values_that_are_not_finite_are_left_out_and_zeros_make_the_axis_linear() -> None:
    figure = comparison_curves({LOSS: {"a": curve(1.0, np.inf, np.nan, 0.0)}})
    ax = panels(figure)[LOSS]
    assert ax.lines[0].get_xdata() == pytest.approx([0, 30])
    assert ax.get_yscale() == "linear"
    assert panels(comparison_curves({"x": {"a": curve(1.0, 9.0)}}, log=["x"]))["x"].get_yscale() == "log"


@pytest.mark.parametrize(("runs", "count"), [(1, 1), (2, 2), (10, 5), (14, 1), (14, 5)])
def test_many_runs_with_long_names_stay_apart(runs: int, count: int, lies_within: Callable[..., bool]) -> None:
    names = [f"overcomplete_digits_with_a_long_name/latent_dim={i},learning_rate=0.001" for i in range(runs)]
    lines = {name: curve(3.0 + i, 2.0 + i, 1.0 + i) for i, name in enumerate(names)}
    figure = comparison_curves({LOSS: lines, **{f"panel {i}": lines for i in range(count - 1)}})
    assert lies_within(figure)
    shown = legend(figure)
    assert len(shown) == runs
    assert len({(line.get_color(), str(line._dash_pattern)) for line in shown.values()}) == runs
    box = figure.legends[0].get_window_extent()
    width, height = figure.get_size_inches() * figure.dpi
    assert box.x0 >= 0
    assert box.y0 >= 0
    assert box.x1 <= width
    assert box.y1 <= height
    for ax in panels(figure).values():
        assert not box.overlaps(ax.get_tightbbox())
        assert ax.get_window_extent().height > 100


def test_labels_are_shortened_in_the_middle_and_stay_distinct() -> None:
    assert shorten_middle("abcdefghij", 10) == "abcdefghij"
    assert shorten_middle("abcdefghij", 5) == "ab…ij"
    assert distinct_labels(["short", "abcdefghij"], 5) == ["short", "ab…ij"]
    assert distinct_labels(["abcdXfghij", "abcdYfghij"], 5) == ["abcdXfghij", "abcdYfghij"]
    assert distinct_labels(["abXdefghij", "abYdefghij"], 5) == ["abX…ij", "abY…ij"]
    assert distinct_labels([]) == []


def test_what_cannot_be_drawn() -> None:
    with pytest.raises(ValueError, match="there are no curves to draw"):
        comparison_curves({LOSS: {"a": curve(np.nan)}, "probe": {}})
    with pytest.raises(ValueError, match="probe of a has 2 values, but 1 steps"):
        comparison_curves({"probe": {"a": ([1], [1.0, 2.0])}})
