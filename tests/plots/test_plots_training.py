import io

import numpy as np
import pytest
import torch

from ae_lightning.plots.training import training_summary

STEPS, TRAIN = torch.tensor([1, 10, 100]), torch.tensor([1.0, 0.1, 0.05])
PROBES = {
    "latent": ([1, 100], [0.85, 0.91], [0.01, 0.02]),
    "raw": ([1, 100], [0.5, 0.9], [0.01, 0.03]),
    "untrained": ([1], [0.8], [0.01]),
}


def test_losses_are_drawn_on_a_logarithmic_scale():
    ax = training_summary(STEPS, TRAIN, [100], [0.07]).axes[0]
    assert ax.get_yscale() == "log"
    assert [line.get_label() for line in ax.lines] == ["training", "validation"]
    np.testing.assert_allclose(ax.lines[0].get_xydata(), [[1, 1.0], [10, 0.1], [100, 0.05]], rtol=1e-6)
    np.testing.assert_allclose(ax.lines[1].get_xydata(), [[100, 0.07]])
    assert ax.get_xlabel() == "optimizer step"


def test_a_loss_that_is_not_positive_is_drawn_on_a_linear_scale():
    assert training_summary(STEPS, -TRAIN, [], []).axes[0].get_yscale() == "linear"


def test_a_diverged_loss_keeps_the_logarithmic_scale():
    assert training_summary([1, 2], [1.0, np.nan], [], []).axes[0].get_yscale() == "log"


def test_curves_have_error_bars_and_references_have_bands():
    ax = training_summary(STEPS, TRAIN, [100], [0.07], PROBES).axes[1]
    (container,) = ax.containers
    curve, _, (bars,) = container.lines
    assert curve.get_ydata().tolist() == [0.85, 0.91]
    spans = [segment[:, 1] for segment in bars.get_segments()]
    np.testing.assert_allclose(spans, [[0.84, 0.86], [0.89, 0.93]])
    flat = {line.get_label(): line.get_ydata() for line in ax.lines if len(set(line.get_ydata())) == 1}
    assert list(flat["raw 0.900"]) == [0.9, 0.9]
    assert list(flat["untrained 0.800"]) == [0.8, 0.8]
    bands = sorted((patch.get_y(), patch.get_y() + patch.get_height()) for patch in ax.patches)
    np.testing.assert_allclose(bands, [(0.79, 0.81), (0.87, 0.93)])


def test_the_legend_names_every_probe_with_its_last_value_and_covers_nothing():
    figure = training_summary(STEPS, TRAIN, [100], [0.07], PROBES)
    figure.savefig(io.BytesIO())
    legend = figure.axes[1].get_legend()
    assert {text.get_text() for text in legend.get_texts()} == {
        "raw 0.900",
        "untrained 0.800",
        "latent 0.910",
    }
    box = legend.get_window_extent()
    assert box.y1 < figure.axes[1].get_window_extent().y0
    assert box.y0 >= 0


@pytest.mark.parametrize("probes", [None, {}])
def test_without_probes_there_is_one_side(probes):
    assert len(training_summary(STEPS, TRAIN, [], [], probes).axes) == 1


def test_a_run_that_logged_nothing_is_drawn_empty():
    figure = training_summary([], [], [], [], {"latent": ([], [], [])})
    figure.savefig(io.BytesIO())
    assert [len(ax.lines) for ax in figure.axes] == [0, 0]
