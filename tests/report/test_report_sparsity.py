"""The figures of a run: what is drawn, compared with the run's own files and the model's own answers."""

import re
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.quiver import Quiver
from sklearn.metrics.pairwise import cosine_similarity

from ae_lightning.data.gaussian import GaussianDataModule
from ae_lightning.errors import ConfigError
from ae_lightning.models.checkpoint import load_autoencoder
from ae_lightning.models.overcomplete import OvercompleteAutoencoder
from ae_lightning.models.standard_sae import StandardSAE
from ae_lightning.report.contributions import take_apart
from ae_lightning.report.sparsity import SparsityFigures
from ae_lightning.run.codes import fractions_active, samples_per_moment
from ae_lightning.run.run import Run


def figures_of(folder: Path) -> SparsityFigures:
    return SparsityFigures(Run.load(folder))


def arrows(ax: Any) -> list[np.ndarray]:
    """Ends of all arrows of some axes, (n, 2) for each group of them, in the order in which they are drawn."""
    return [np.stack([q.U, q.V], axis=1) for q in ax.get_children() if isinstance(q, Quiver)]


def titles(figure: Figure) -> list[str]:
    return [ax.get_title() for ax in figure.axes]


def pixels(figure: Figure) -> np.ndarray:
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())


def codes_by_hand(weights: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """Codes (instances, n, latent) of a StandardSAE's weights for samples x (instances, n, input)."""
    centered = x - weights["decoder_bias"][:, None]
    return (centered @ weights["encoder_vectors"].mT + weights["encoder_bias"][:, None]).clamp(min=0)


# Which figures there are


def test_what_fits_a_run(toy_sae, toy_model, digits_sae, sparse):
    codes = ["mean_activation", "latent_histograms"]
    toy, sae, digits, deep = (figures_of(folder) for folder in (toy_model, toy_sae, digits_sae, sparse))
    assert list(toy.fitting()) == ["features", "interference"]  # of one term, which is the loss, and of no units
    counted = ["fraction_active", "active_latents", "dead_latents"]
    assert list(sae.fitting()) == ["penalties", *codes, "contributions", "features", "hidden_states", *counted]
    assert list(digits.fitting()) == ["penalties", *codes, "contributions", *counted]
    assert list(deep.fitting()) == ["penalties", *codes]
    assert [f.has_animation for f in (toy, sae, digits, deep)] == [True, True, False, False]
    for figures in (toy, sae, digits, deep):
        assert figures.needing_snapshots() == []
        for draw in figures.fitting().values():
            assert pixels(draw()).std() > 0


def test_without_snapshots_it_says_what_needs_them(toy_sae, toy_model, sparse, tmp_path):
    expected = {toy_sae: ["fraction_active", "animation"], toy_model: ["animation"], sparse: []}
    for number, (folder, needing) in enumerate(expected.items()):
        copy = shutil.copytree(folder, tmp_path / f"version_{number}", ignore=shutil.ignore_patterns("snapshots"))
        figures = figures_of(copy)
        assert figures.needing_snapshots() == needing
        assert not figures.has_animation
        assert "fraction_active" not in figures.fitting()
    with pytest.raises(ConfigError, match="needs a rectified code and snapshots"):
        figures_of(tmp_path / "version_0").fraction_active()
    with pytest.raises(ConfigError, match="there are no weight snapshots in"):
        figures_of(tmp_path / "version_0").animation()


def test_what_makes_no_sense_is_refused(toy_model, digits_sae):
    with pytest.raises(ConfigError, match="reconstructions of ToyModel are not taken apart"):
        figures_of(toy_model).contributions()
    with pytest.raises(ConfigError, match="drawn as directions and not as dots"):
        figures_of(toy_model).hidden_states()
    for name in ("features", "hidden_states", "animation"):
        with pytest.raises(ConfigError, match="StandardSAE has no directions of two or three numbers"):
            getattr(figures_of(digits_sae), name)()


def test_figures_are_of_the_checkpoint_that_is_named(digits_sae, tmp_path):
    content = torch.load(digits_sae / "checkpoints" / "best.ckpt", weights_only=True)
    content["state_dict"]["dictionary.b_enc"].fill_(-100)
    torch.save(content, tmp_path / "silent.ckpt")
    figure = SparsityFigures(Run.load(digits_sae), load_autoencoder(tmp_path / "silent.ckpt")).mean_activation()
    assert "20 of 20 latents never fire" in titles(figure)[1]


# The loss


def test_penalties_are_the_terms_that_were_logged(toy_sae):
    figures = figures_of(toy_sae)
    figure = figures.penalties()
    assert titles(figure) == ["reconstruction", "l1"]  # the loss is drawn elsewhere
    for ax in figure.axes:
        lines = {line.get_label(): line for line in ax.lines}
        for part, label in (("train", "training"), ("val", "validation")):
            steps, values = figures.run.series(f"{part}/{ax.get_title()}")
            np.testing.assert_array_equal(lines[label].get_xdata(), steps)
            np.testing.assert_allclose(lines[label].get_ydata(), values, rtol=1e-6)
    assert figure.legends[0].get_title().get_text() == "loss = reconstruction + 0.2 × l1"


# Codes


def test_means_are_those_of_the_first_instance_on_the_test_set(toy_sae):
    figures = figures_of(toy_sae)
    figure = figures.mean_activation()
    x, _ = figures.data.test_set.take(600)
    z = figures.model.encode(x)[0]
    (line,) = figure.axes[0].lines
    np.testing.assert_allclose(line.get_ydata(), z.mean(0).sort(descending=True).values.detach(), rtol=1e-5)
    never = int((z == 0).all(0).sum())
    assert titles(figure)[1] == f"Firing density: {never} of 5 latents never fire"
    assert figure.get_suptitle() == figures.latent_histograms().get_suptitle() == "the first of 3 instances"


def test_the_target_of_a_kl_penalty_is_a_line(sparse, digits_sae):
    figure = figures_of(sparse).mean_activation()
    (target,) = [line for line in figure.axes[0].lines if line.get_linestyle() == "--"]
    assert target.get_ydata() == [0.1, 0.1]
    assert "target 0.1" in str(target.get_label())
    assert len(figures_of(digits_sae).mean_activation().axes[0].lines) == 1
    assert not figures_of(digits_sae).mean_activation().get_suptitle()


def test_histograms_say_how_often_each_latent_is_active(digits_sae):
    figures = figures_of(digits_sae)
    z = figures.model.encode(figures.data.test_set.take(1000)[0])
    (title, *_) = titles(figures.latent_histograms([7]))
    assert re.fullmatch(r"#7  \d+ % active", title)
    assert int(title.split()[1]) == pytest.approx(100 * float((z[:, 7] > 0).float().mean()), abs=0.51)


# Contributions


@torch.no_grad()
def test_contributions_add_up_to_the_reconstruction(digits_sae, toy_sae):
    for figures, sample in ((figures_of(digits_sae), 5), (figures_of(toy_sae), figures_of(toy_sae).first_active())):
        x = figures.data.test_set.__getitems__([sample])[0]
        x_hat, z = figures.model(x)
        apart = take_apart(figures.model, figures.sample(sample), most=3)
        first = (0,) * (x_hat.ndim - len(figures.model.input_shape))
        torch.testing.assert_close(apart.parts.total, x_hat[first].flatten())
        torch.testing.assert_close(apart.x_hat, x_hat[first].flatten())
        torch.testing.assert_close(apart.x, figures.model.flatten(x)[first])
        assert len(apart.parts.latents) + apart.parts.rest_count == int((z[first] != 0).sum())


@torch.no_grad()
@pytest.mark.parametrize("instances", [None, 2])
def test_a_sum_is_taken_apart_before_the_output_activation(instances):
    torch.manual_seed(0)
    model = OvercompleteAutoencoder((1, 2, 3), 7, output_activation="sigmoid", instances=instances)
    x = torch.rand(1, 2, 3)
    apart = take_apart(model, x)
    expected = model(x[None]).x_hat.reshape(-1, 6)[0]
    torch.testing.assert_close(apart.parts.total.sigmoid(), expected)
    torch.testing.assert_close(apart.x_hat, expected)
    torch.testing.assert_close(apart.x, x.flatten())


def test_vectors_are_bars_and_images_images(toy_sae, digits_sae):
    figures = figures_of(toy_sae)
    bars = figures.contributions(3)
    assert bars.get_suptitle().startswith("test sample #3, first instance\n")
    (marks,) = [line for line in bars.axes[0].lines if str(line.get_label()).startswith("reconstruction")]
    x_hat = figures.model(figures.data.test_set.__getitems__([3])[0]).x_hat
    np.testing.assert_allclose(marks.get_ydata(), x_hat[0, 0].detach(), atol=1e-6)
    images = figures_of(digits_sae).contributions(3)
    assert images.get_suptitle().startswith("test sample #3\n")
    gray = np.asarray(images.axes[0].images[0].get_array())[..., 0] / 255
    np.testing.assert_allclose(gray, figures_of(digits_sae).sample(3)[0], atol=0.003)


def test_the_first_sample_with_an_active_latent_is_shown_if_none_is_named(toy_sae):
    figures = figures_of(toy_sae)
    active = (figures.model.encode(figures.data.test_set.take(600)[0])[0] != 0).any(-1)
    first = int(active.nonzero()[0, 0])
    assert figures.contributions().get_suptitle().startswith(f"test sample #{first},")
    with torch.no_grad():
        figures.model.dictionary.b_enc.fill_(-100)
    assert figures.contributions().get_suptitle().startswith("test sample #0,")


@pytest.mark.parametrize("index", [-1, 600])
def test_a_sample_that_there_is_not(index, toy_sae):
    with pytest.raises(ConfigError, match=rf"sample {index} is not in the test set, which has 600 \(0 to 599\)"):
        figures_of(toy_sae).contributions(index)


# The plane


def test_features_are_those_of_the_toy_model(toy_model):
    figures = figures_of(toy_model)
    figure = figures.features(2)
    assert titles(figure) == ["instance 0", "instance 1"]
    for ax, expected in zip(figure.axes, figures.model.encoder_vectors.detach(), strict=False):
        (ends,) = arrows(ax)
        np.testing.assert_allclose(ends, expected.T, rtol=1e-6)
    assert "feature 0" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_features_that_share_dimensions_interfere(toy_model):
    figures = figures_of(toy_model)
    matrix, lengths = figures.fitting()["interference"]().axes[:2]
    rows = figures.model.snapshot()["encoder_vectors"][0].numpy().T
    np.testing.assert_allclose(matrix.images[0].get_array(), cosine_similarity(rows), atol=1e-5)
    np.testing.assert_allclose([bar.get_height() for bar in lengths.patches], np.linalg.norm(rows, axis=1), rtol=1e-5)


def test_decoder_rows_lie_over_the_true_directions(toy_sae):
    figures = figures_of(toy_sae)
    figure = figures.features()
    assert len(figure.axes) == 3
    for ax, rows in zip(figure.axes, figures.model.decoder_vectors.detach(), strict=True):
        behind, ends = arrows(ax)
        np.testing.assert_allclose(behind, figures.data.feature_directions, rtol=1e-6)
        np.testing.assert_allclose(ends, rows, rtol=1e-6)
    assert "latent 0" in [text.get_text() for text in figure.legends[0].get_texts()]


def test_hidden_states_are_test_samples_and_zeros_come_last(toy_sae):
    figures = figures_of(toy_sae)
    figure = figures.hidden_states(2, n=80)
    x = figures.data.test_set.take(600)[0]
    for instance, ax in enumerate(figure.axes):
        own = x[:, instance]
        nonzero = own[(own != 0).any(-1)]
        expected = torch.cat([nonzero, torch.zeros(80, 2)])[:80]
        before, after = (np.stack(line.get_data(), axis=1) for line in ax.lines)
        np.testing.assert_allclose(before, expected, rtol=1e-6)
        weights = {name: part[instance : instance + 1] for name, part in figures.model.snapshot().items()}
        z = codes_by_hand(weights, expected[None])
        decoded = (z @ weights["decoder_vectors"])[0] + weights["decoder_bias"]
        np.testing.assert_allclose(after, decoded, atol=1e-5)


def test_a_model_without_instances_on_data_without_known_directions(tmp_path):
    data = GaussianDataModule(dim=2, rank=1, num_train=40, num_val=10, num_test=30)
    parts = {"folder": tmp_path, "snapshots": {}, "metrics": {"step": np.empty(0)}}
    run: Any = SimpleNamespace(**parts, data=data, model=StandardSAE((2,), 4))
    figures = SparsityFigures(run)
    assert list(figures.fitting()) == [
        *("mean_activation", "latent_histograms", "contributions", "features", "hidden_states")
    ]
    (ax,) = figures.features().axes
    (ends,) = arrows(ax)
    np.testing.assert_allclose(ends, run.model.decoder_vectors.detach(), rtol=1e-6)
    before = np.stack(figures.hidden_states().axes[0].lines[0].get_data(), axis=1)
    np.testing.assert_allclose(before, run.data.test_set.take(30)[0], rtol=1e-6)


# The course of training


def test_the_fraction_active_is_counted_at_each_snapshot(toy_sae):
    figures = figures_of(toy_sae)
    figure = figures.fraction_active(2)
    assert titles(figure) == ["instance 0", "instance 1"]
    x = figures.data.test_set.take(600)[0].movedim(1, 0)
    steps = list(figures.run.snapshots)
    assert steps == [0, 20, 40, 60, 80, 100]
    counted = torch.stack([(codes_by_hand(figures.run.snapshots[s], x) > 0).float().mean(1) for s in steps])
    assert counted.unique().numel() > 10
    for instance, ax in enumerate(figure.axes):
        curves = [line for line in ax.lines if len(line.get_xdata()) == len(steps)]
        assert len(curves) == 5
        for latent, curve in enumerate(curves):
            np.testing.assert_array_equal(curve.get_xdata(), steps)
            np.testing.assert_allclose(curve.get_ydata(), counted[:, instance, latent], atol=1e-6)
        dashed = [line.get_ydata()[0] for line in ax.lines if line.get_linestyle() == "--"]
        assert dashed == pytest.approx([0.025])
        vertical = [line.get_xdata()[0] for line in ax.lines if line.get_color() == "#999999"]
        assert vertical == [40, 80]


def test_of_a_wide_code_or_many_moments_fewer_samples_are_encoded(toy_sae, monkeypatch):
    assert samples_per_moment(41, 16 * 5) == 10_000
    assert samples_per_moment(50, 1024) == 1953
    assert samples_per_moment(121, 65_536) == 1000
    figures = figures_of(toy_sae)
    monkeypatch.setattr("ae_lightning.run.codes._FEWEST_SAMPLES", 70)
    monkeypatch.setattr("ae_lightning.run.codes.MOST_ENCODED", 0)
    found = fractions_active(figures.model, figures.run.snapshots, [0, 100], figures.data.test_set, 32)
    x = figures.data.test_set.take(70)[0].movedim(1, 0)
    counted = [(codes_by_hand(figures.run.snapshots[step], x) > 0).float().mean(1) for step in (0, 100)]
    torch.testing.assert_close(found, torch.stack(counted))


def test_looking_back_leaves_the_model_as_it_was(toy_sae):
    figures = figures_of(toy_sae)
    before = {name: part.clone() for name, part in figures.model.snapshot().items()}
    state = torch.get_rng_state()
    figures.fraction_active()
    figures.animation(2)
    assert all(torch.equal(part, before[name]) for name, part in figures.model.snapshot().items())
    assert torch.equal(torch.get_rng_state(), state)


def test_each_instance_says_its_probability_where_they_differ(toy_sae):
    figures = figures_of(toy_sae)
    figures.data.probability = torch.tensor([[0.01] * 5, [0.1] * 5, [0.2] * 5])
    figure = figures.fraction_active(2)
    assert titles(figure) == ["instance 0: p = 0.01", "instance 1: p = 0.1"]
    levels = [line.get_ydata()[0] for ax in figure.axes for line in ax.lines if line.get_linestyle() == "--"]
    assert levels == pytest.approx([0.01, 0.1])


def test_a_snapshot_of_another_model_is_refused(toy_sae, digits_sae, tmp_path):
    copy = shutil.copytree(toy_sae, tmp_path / "version_0")
    shutil.copy(digits_sae / "snapshots" / "step_00000000.safetensors", copy / "snapshots")
    with pytest.raises(ValueError, match=r"the snapshot holds .* but StandardSAE has"):
        figures_of(copy).fraction_active()
