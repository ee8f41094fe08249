"""Figures of sparse dictionaries, beside the run's own tables and sums written out; in the data's units."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure

from ae_lightning.evaluation.truth import recovery
from ae_lightning.models.base import Autoencoder
from ae_lightning.models.jumprelu_sae import JumpReLUSAE
from ae_lightning.models.standard_sae import StandardSAE
from ae_lightning.models.topk_sae import TopKSAE
from ae_lightning.report.contributions import take_apart
from ae_lightning.report.dictionaries import DictionaryFigures
from ae_lightning.report.plane import directions
from ae_lightning.report.sparsity import SparsityFigures
from ae_lightning.report.weights import WeightFigures
from ae_lightning.run.run import Run


def figures_of(folder: Path) -> DictionaryFigures:
    run = Run.load(folder)
    run.data.setup()
    return DictionaryFigures(run, run.model)


def curves(figure: Figure, panel: int = 0) -> dict[str, tuple[list[float], list[float]]]:
    lines = figure.axes[panel].lines
    return {str(line.get_label()): (list(line.get_xdata()), list(line.get_ydata())) for line in lines}


def column(run: Run, name: str) -> list[float]:
    return run.series(name)[1].tolist()


def test_there_are_those_figures_that_the_model_has_something_for(matryoshka, jump, digits_sae, sparse, toy_model):
    always = ["active_latents", "dead_latents"]
    assert list(figures_of(matryoshka).fitting()) == [*always, "thresholds", "prefixes"]
    assert list(figures_of(jump).fitting()) == [*always, "thresholds"]
    assert list(figures_of(digits_sae).fitting()) == always
    assert figures_of(sparse).fitting() == figures_of(toy_model).fitting() == {}
    assert set(figures_of(jump).fitting()) <= set(SparsityFigures(Run.load(jump)).fitting())


def test_active_latents_are_those_of_the_table_beside_what_was_asked_for(matryoshka, jump):
    figures = figures_of(matryoshka)
    drawn = curves(figures.active_latents())
    assert drawn["L0 on the validation set"][1] == column(figures.run, "sparsity/l0")
    assert drawn["k in training"][1] == column(figures.run, "measures/k")
    assert drawn["k 6"][1] == [6, 6]
    assert set(curves(figures_of(jump).active_latents())) == {"L0 on the validation set", "target_l0 5"}


def test_dead_latents_are_counted_by_each_of_the_two_definitions(matryoshka, jump):
    figures = figures_of(matryoshka)
    drawn = curves(figures.dead_latents())
    assert drawn["in training: it fired on none of the last dead_after samples"][1] == column(
        figures.run, "measures/dead_latents"
    )
    evaluated = drawn["evaluated: it fires on no validation sample"][1]
    assert evaluated == pytest.approx([24 * fraction for fraction in column(figures.run, "sparsity/dead_fraction")])
    assert list(curves(figures_of(jump).dead_latents())) == ["evaluated: it fires on no validation sample"]


def test_thresholds_are_those_of_the_first_instance_and_of_the_table(matryoshka, jump):
    figures = figures_of(jump)
    figure = figures.thresholds()
    values = figures.model.state_dict()["dictionary.activation.threshold"][0]
    assert sum(bar.get_height() for bar in figure.axes[0].patches) == 20
    assert figure.axes[0].lines[0].get_xdata()[0] == pytest.approx(float(np.median(values.numpy())))
    assert curves(figure, 1)["mean threshold"][1] == column(figures.run, "measures/threshold")
    one = figures_of(matryoshka)
    (ax,) = one.thresholds().axes
    assert ax.get_ylabel().endswith("× row norm")
    assert ax.lines[0].get_ydata()[-1] == pytest.approx(float(one.model.dictionary.activation.threshold), rel=0.2)


def test_prefixes_have_the_errors_of_their_latents_alone_in_the_data_s_units(matryoshka):
    figures = figures_of(matryoshka)
    state = {name: value.double().numpy() for name, value in figures.model.state_dict().items()}
    x = figures.run.data.test_set.take(360)[0]
    with torch.no_grad():
        z = figures.model.encode(x).double().numpy()
    rows = x.flatten(1).double().numpy()
    spread = np.square(rows - rows.mean(0)).mean()
    error_panel, explained_panel = figures.prefixes().axes
    for place, width in enumerate((6, 12, 24)):
        whitened = z[:, :width] @ state["dictionary.W_dec"][:width] + state["dictionary.b_dec"]
        x_hat = (whitened * state["scaling.deviations"]) @ state["scaling.directions"] + state["scaling.mean"]
        error = np.square(x_hat - rows).mean()
        assert error_panel.lines[0].get_ydata()[place] == pytest.approx(error, rel=1e-4)
        assert explained_panel.lines[0].get_ydata()[place] == pytest.approx(1 - error / spread, abs=1e-4)


def test_removal_of_whitened_samples_begins_at_the_error_of_the_model(matryoshka):
    run = Run.load(matryoshka)
    x = run.data.test_set.take(360)[0] if run.data.setup() is None else None
    with torch.no_grad():
        whole = float((run.model(x).x_hat - x).square().mean())
    for line in WeightFigures(run).fitting()["removal"]().axes[0].lines:
        assert line.get_ydata()[0] == pytest.approx(whole, rel=1e-4)


def started(kind: type[Autoencoder], scaling: str, instances: int | None) -> tuple[Autoencoder, torch.Tensor]:
    """A model of data that lie far from zero, and some of these."""
    torch.manual_seed(0)
    model = kind((12,), 40, input_scaling=scaling, instances=instances, init="samples")
    samples = 30 * torch.randn(400, 12) + 20 * torch.arange(12.0)
    model.start_from(samples, torch.Generator().manual_seed(1))
    return model.eval(), samples


@pytest.mark.parametrize("instances", [None, 2])
@pytest.mark.parametrize("scaling", ["centered_mean_norm", "whitened", "standardized", "none"])
@pytest.mark.parametrize("kind", [TopKSAE, JumpReLUSAE])
def test_contributions_add_up_to_the_reconstruction_in_the_data_s_units(kind, scaling, instances):
    model, samples = started(kind, scaling, instances)
    x, x_hat, parts = take_apart(model, samples[3])
    assert torch.equal(x, samples[3])
    with torch.no_grad():
        expected = model(samples[3:4]).x_hat
    torch.testing.assert_close(x_hat, expected[0] if instances is None else expected[0, 0])
    torch.testing.assert_close(parts.total, x_hat, rtol=1e-4, atol=2e-3)
    assert len(parts.latents) > 0


class KnownDirections:
    """Data of which only this is asked; labels are not how much there is of each feature."""

    test_set = SimpleNamespace(take=lambda number: (torch.zeros(number, 2), torch.zeros(number)))
    feature_directions = torch.nn.functional.normalize(torch.tensor([[3.0, 1.0], [-1.0, 2.0]]), dim=-1)


def test_directions_are_compared_and_drawn_in_the_data_s_units():
    """Whitened, the directions that data are sums of have other angles to each other."""
    torch.manual_seed(0)
    truth = KnownDirections.feature_directions
    model = StandardSAE((2,), 2, input_scaling="whitened")
    model.start_from(torch.rand(1000, 2) @ truth, torch.Generator())
    with torch.no_grad():
        # Rows that decode to the truth: x_s = (x − μ)A, with A of the scaling.
        model.decoder_vectors.copy_(model.scaling(truth) - model.scaling(torch.zeros(1, 2)))
    assert recovery(model, KnownDirections())[0]["mcc"] == pytest.approx(1, abs=1e-4)
    torch.testing.assert_close(directions(model)["decoder"][0], truth, rtol=1e-4, atol=1e-4)
