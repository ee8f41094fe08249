"""Pictures of known worlds over training, from snapshots made by hand of the world's own directions."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from ae_lightning.data.world import WorldDataModule
from ae_lightning.models.standard_sae import StandardSAE
from ae_lightning.report.recovery import RecoveryFigures
from ae_lightning.report.sections.truth import TruthSection
from ae_lightning.report.sparsity import SparsityFigures
from ae_lightning.report.units import Units
from ae_lightning.report.weights import WeightFigures

NOTHING = {name: np.empty(0, dtype=int) for name in ("step", "instance", "latent")}


def run_in(features: int, dim: int, latents: int, rows_at: dict[int, Any], instances: int | None = None) -> Any:
    """What figures read of a run: a world, a model, and snapshots whose decoder rows are made of the directions."""
    data = WorldDataModule(features, dim, num_val=64, num_test=64, instances=instances)
    data.setup()
    torch.manual_seed(0)
    model = StandardSAE((dim,), latents, instances=instances).eval()
    snapshots = {}
    for step, rows_of in rows_at.items():
        rows = rows_of(data.feature_directions)
        like = model.decoder_vectors
        snapshots[step] = {**model.snapshot(), "decoder_vectors": rows.expand_as(like).clone()}
    return SimpleNamespace(model=model, data=data, snapshots=snapshots, metrics={}, resampled=NOTHING)


def recovery_of(run: Any) -> RecoveryFigures:
    return RecoveryFigures(Units(run, run.model, None, "test"))


def heights(figure: Figure) -> list[list[float]]:
    """Heights of the bars of births, swaps and deaths."""
    return np.array([bar.get_height() for bar in figure.axes[1].patches]).reshape(3, -1).tolist()


@pytest.mark.parametrize("instances", [None, 2])
def test_latents_that_trade_truths_swap_and_those_that_vanish_die(instances):
    half = torch.arange(40)[:, None] < 20
    moments = {0: lambda true: true, 5: lambda true: true.roll(1, 0), 7: lambda true: true.roll(1, 0) * half}
    run = run_in(40, 24, 40, moments, instances)
    figures = recovery_of(run).fitting()
    assert heights(figures["latents_over_training"]()) == [[0, 0], [40, 0], [0, -20]]
    heat_map, bands = figures["truths_over_training"]().axes[:2]
    rows = np.asarray(heat_map.images[0].get_array())
    np.testing.assert_allclose(rows[:, :2], 1, atol=1e-5)
    assert rows[:20, 2] == pytest.approx(1, abs=1e-5)
    assert rows[20:, 2] == pytest.approx(0)
    assert bands.lines[1].get_ydata() == pytest.approx([1, 1, 0.5], abs=1e-5)


def test_the_most_latents_that_can_stand_for_a_truth_are_all_where_there_are_fewer_than_truths():
    run = run_in(40, 24, 30, {step: lambda true: true[:30] for step in (0, 5)})
    left = recovery_of(run).fitting()["latents_over_training"]().axes[0]
    assert left.lines[0].get_ydata().tolist() == [30, 30]
    assert left.lines[1].get_ydata()[0] == 30


def test_a_single_snapshot_is_no_course():
    assert list(recovery_of(run_in(12, 8, 12, {0: lambda true: true})).fitting()) == ["recovery"]


def test_of_many_pairs_fewer_snapshots_are_matched(monkeypatch):
    monkeypatch.setattr("ae_lightning.report.recovery._MOST_PAIRS", 3 * 12 * 12)
    run = run_in(12, 8, 12, {step: lambda true: true for step in range(0, 50, 10)})
    (labels,) = [ax.get_xticklabels() for ax in recovery_of(run).truths().axes[:1]]
    assert [label.get_text() for label in labels] == ["0", "20", "40"]


def test_weights_that_are_not_finite_are_refused():
    run = run_in(12, 8, 12, {0: lambda true: true, 5: lambda true: true * torch.nan})
    with pytest.raises(ValueError, match="not finite"):
        recovery_of(run).latents()


def test_the_report_has_a_section_of_them():
    run = run_in(12, 8, 12, {step: lambda true: true for step in (0, 5)})
    section = TruthSection(SimpleNamespace(weights=WeightFigures(run)))
    assert list(section.figures()) == ["recovery", "truths_over_training", "latents_over_training"]
    assert all(section.reading(name) for name in section.figures())


@pytest.mark.parametrize("instances", [None, 2])
@pytest.mark.parametrize(("dim", "frames"), [(2, 2), (3, 2 + 24)])
def test_worlds_of_two_and_three_dimensions_are_animated(dim, frames, instances):
    run = run_in(5, dim, 5, {0: lambda true: 0.1 * true, 10: lambda true: true}, instances)
    figures = SparsityFigures(run)
    assert figures.has_animation
    drawn, captions = figures.animation()
    assert len(drawn) == len(captions) == frames
    assert (drawn[0] != drawn[1]).any()
    assert {"features", "hidden_states"} <= set(figures.fitting())
    assert len(figures.features().axes) == len(figures.hidden_states().axes) == (instances or 1)


def test_worlds_of_four_dimensions_are_not():
    figures = SparsityFigures(run_in(5, 4, 5, {0: lambda true: true, 10: lambda true: true}))
    assert not figures.has_animation
    assert "features" not in figures.fitting()
