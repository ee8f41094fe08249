"""`ae-lightning latent`: which pictures it writes, what it says of them, and what it refuses."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from ae_lightning.evaluation.sample_quality import sample_quality
from ae_lightning.gallery import Gallery
from ae_lightning.models.checkpoint import load_autoencoder
from ae_lightning.run.run import Run


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the trained run, to write into."""
    return shutil.copytree(trained, tmp_path / "mine" / "version_0")


@pytest.fixture
def deep_run(ae: Callable[..., Any], quick: list[str], tmp_path: Path) -> Path:
    """A run of a variant with a hidden layer and a code of two numbers."""
    options = ["--model", "FullyConnectedAutoencoder", *quick[2:], "--model.latent_dim", "2"]
    assert ae("fit", *options, "--model.hidden_dims", "[12]").code == 0
    return next(tmp_path.glob("lightning_logs/*/version_0"))


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def pixels(picture: Figure | Path) -> np.ndarray:
    if isinstance(picture, Path):
        return np.asarray(Image.open(picture).convert("RGB"))
    picture.set_dpi(150)
    canvas = FigureCanvasAgg(picture)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def test_without_options_there_are_the_figures_that_always_fit(ae: Callable[..., Any], deep_run: Path) -> None:
    code, out, err = ae("latent", deep_run)
    assert (code, err) == (0, "")
    folder = deep_run / "figures" / "latent"
    assert files_in(folder) == {"reconstructions.png", "scatter.png", "layers.png"}
    lines = out.splitlines()
    assert [Path(line) for line in lines[::2]] == [
        folder / f"{n}.png" for n in ("reconstructions", "scatter", "layers")
    ]
    for sentence in lines[1::2]:
        assert re.fullmatch(r"  [A-Z][^.]+\.", sentence)


def test_a_shallow_model_has_no_layers(ae: Callable[..., Any], run: Path) -> None:
    assert ae("latent", run).code == 0
    assert files_in(run / "figures" / "latent") == {"reconstructions.png", "scatter.png"}


def test_pictures_are_named_after_what_they_show_and_are_those_of_the_best_checkpoint(
    ae: Callable[..., Any], deep_run: Path, tmp_path: Path
) -> None:
    code, out, _ = ae(
        *("latent", deep_run, "--interpolate", "3", "7", "--interpolate", "0", "359", "--steps", "6"),
        *("--arithmetic", "2", "3", "5", "--grid", "4", "--samples", "10", "-o", tmp_path / "new" / "folder"),
    )
    assert code == 0
    folder = tmp_path / "new" / "folder"
    opened = Run.load(deep_run)
    gallery = Gallery(load_autoencoder(deep_run / "checkpoints" / "best.ckpt"), opened.data)
    expected = {
        "interpolation_3_7": gallery.interpolation([(3, 7)], 6),
        "interpolation_0_359": gallery.interpolation([(0, 359)], 6),
        "arithmetic_2_3_5": gallery.arithmetic(2, 3, 5),
        "grid": gallery.grid(4),
        "samples": gallery.samples(10),
        "scatter": gallery.scatter(),
        "reconstructions": gallery.reconstructions(),
        "layers": gallery.layers(),
    }
    assert files_in(folder) == {f"{name}.png" for name in expected}
    assert not (deep_run / "figures").exists()
    for name, figure in expected.items():
        path = folder / f"{name}.png"
        assert np.array_equal(pixels(path), pixels(figure)), name
        assert Image.open(path).info["dpi"] == pytest.approx((150, 150), abs=0.1)
        assert str(path) in out
    assert len(out.splitlines()) == 2 * len(expected)


def test_a_grid_has_fifteen_rows_if_it_is_not_said(ae: Callable[..., Any], deep_run: Path) -> None:
    assert ae("latent", deep_run, "--grid").code == 0
    gallery = Gallery(Run.load(deep_run).model, Run.load(deep_run).data)
    assert np.array_equal(pixels(deep_run / "figures" / "latent" / "grid.png"), pixels(gallery.grid(15)))


def with_weights(checkpoint: Path, change: Callable[[torch.Tensor], torch.Tensor], to: Path) -> None:
    content = torch.load(checkpoint, weights_only=True)
    content["state_dict"] = {name: change(tensor) for name, tensor in content["state_dict"].items()}
    torch.save(content, to)


def test_a_checkpoint_of_the_run(ae: Callable[..., Any], deep_run: Path) -> None:
    best, other = (deep_run / "checkpoints" / f"{name}.ckpt" for name in ("best", "other"))
    with_weights(best, lambda weights: 3 * weights, to=other)
    assert ae("latent", other, "--samples", "5").code == 0
    shown = pixels(deep_run / "figures" / "latent" / "samples.png")
    data = Run.load(deep_run).data
    assert np.array_equal(shown, pixels(Gallery(load_autoencoder(other), data).samples(5)))
    assert not np.array_equal(shown, pixels(Gallery(load_autoencoder(best), data).samples(5)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--interpolate", "3", "12345"], "sample 12345 is not in the test set, which has 360 (0 to 359)"),
        (["--interpolate", "-1", "3"], "sample -1 is not in the test set, which has 360 (0 to 359)"),
        (["--arithmetic", "0", "1", "360"], "sample 360 is not in the test set, which has 360 (0 to 359)"),
        (["--interpolate", "3", "7", "--steps", "1"], "--steps is 1; it must be at least 2"),
        (["--samples", "0"], "--samples is 0; it must be at least 1"),
        (["--samples", "-3"], "--samples is -3; it must be at least 1"),
        (["--grid", "1"], "--grid is 1; it must be at least 2"),
        (["--samples", "9", "--sampler", "gm"], "there is no sampler gm; did you mean gmm?"),
        (
            ["--samples", "9", "--sampler", "prior"],
            "OvercompleteAutoencoder has no prior to draw codes from; choose the sampler normal, gmm or empirical",
        ),
        (
            ["--samples", "9", "--sampler", "gmm", "--components", "2000"],
            "the sampler gmm cannot be fitted: a mixture of 2,000 Gaussians needs as many codes, but there are 1,293",
        ),
        (["--sampler", "gmm"], "--sampler is of no use without --samples or --quality"),
        (["--samples", "9", "--components", "3"], "--components is of no use without --sampler gmm"),
        (["--samples", "9", "--classifiers", "here"], "--classifiers is of no use without --quality"),
        (["--samples", "9", "--seed", "-1"], "--seed is -1; it must be at least 0"),
        (["--samples", "9", "--seed", "4294967296"], "--seed is 4294967296; it must be at most 4294967295"),
        (["--quality", "0"], "--quality is 0; it must be at least 1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_sentence_and_leaves_no_file(
    options: list[str], message: str, ae: Callable[..., Any], run: Path
) -> None:
    code, out, err = ae("latent", run, *options)
    assert (code, out) == (2, "")
    assert err == f"ae-lightning: error: {message}\n"
    assert not (run / "figures").exists()


def test_a_run_that_there_is_not(ae: Callable[..., Any], trained: Path, tmp_path: Path) -> None:
    code, _, err = ae("latent", "nowhere")
    assert (code, err) == (2, "ae-lightning: error: there is no run folder at nowhere\n")
    code, _, err = ae("latent", trained / "checkpoints" / "none.ckpt")
    assert code == 2
    assert "there is no checkpoint at" in err
    shutil.copy(trained / "checkpoints" / "best.ckpt", tmp_path / "bare.ckpt")
    code, _, err = ae("latent", "bare.ckpt")
    assert code == 2
    assert "bare.ckpt lies in no run's folder" in err
    assert "name a run's folder" in err


def test_codes_that_are_not_finite_are_one_sentence(ae: Callable[..., Any], run: Path) -> None:
    path = run / "checkpoints" / "best.ckpt"
    with_weights(path, lambda weights: torch.nan * weights, to=path)
    code, _, err = ae("latent", run)
    assert code == 2
    assert re.search("error: scatter cannot be drawn: .*finite", err)


def test_the_help_has_an_example(ae: Callable[..., Any]) -> None:
    code, out, _ = ae("latent", "--help")
    assert code == 0
    assert "ae-lightning latent lightning_logs/" in out
    for word in (
        "--interpolate A B",
        "--arithmetic A B C",
        "--grid [SIZE]",
        "--samples N",
        "--steps",
        "RUN_OR_CHECKPOINT",
    ):
        assert word in " ".join(out.split())


def test_samples_of_a_sampler_are_pictured_and_measured(ae: Callable[..., Any], deep_run: Path, tmp_path: Path) -> None:
    options = ("--samples", "6", "--sampler", "gmm", "--components", "3", "--seed", "5", "--quality", "500")
    code, out, err = ae("latent", deep_run, *options, "--classifiers", tmp_path / "kept")
    assert (code, err) == (0, "")
    folder = deep_run / "figures" / "latent"
    opened = Run.load(deep_run)
    gallery = Gallery(opened.model, opened.data)
    sampler = gallery.sampler("gmm", 3)
    assert np.array_equal(pixels(folder / "samples_gmm.png"), pixels(gallery.samples(6, sampler, 5)))
    assert not (folder / "samples.png").exists()
    written = json.loads((folder / "samples_gmm.json").read_text())
    expected = sample_quality(gallery, sampler, 500, 5, tmp_path / "kept")
    assert {name: written[name] for name in expected} == json.loads(json.dumps(expected))
    assert (written["checkpoint"], written["data"]["hash"]) == ("best.ckpt", opened.data.fingerprint())
    assert "Codes from a mixture of 3 Gaussians fitted to 1,293 training codes, decoded." in out
    assert "360 of the 500 samples asked for, since the training or the test set has no more" in out
    generated, held_out = (written["scores"][name] for name in ("generated", "test_set"))
    for words, name in (("precision", "precision"), ("classifier FD", "classifier_fd")):
        assert f"{words} {generated[name]:.4f} {held_out[name]:.4f}" in " ".join(out.split())
    assert f"labels {written['classifier']['test_accuracy']:.1%} of the test set correctly" in out
    assert [path.name for path in (tmp_path / "kept").iterdir()] == [Path(written["classifier"]["file"]).name]


def test_an_experiment_can_list_figures_by_their_short_name(
    ae: Callable[..., Any], quick: list[str], tmp_path: Path
) -> None:
    (tmp_path / "mine.yaml").write_text(
        "model:\n  class_path: ConvAutoencoder\n  init_args: {latent_channels: 4}\n"
        "data:\n  class_path: DigitsDataModule\n"
        "trainer:\n  max_epochs: 1\n  callbacks:\n"
        "    - class_path: Figures\n"
        "      init_args: {schedule: {every: 3, unit: steps, first: false}, names: [layers, scatter]}\n"
    )
    assert ae("fit", "--config", "mine.yaml").code == 0
    folder = tmp_path / "lightning_logs" / "mine" / "version_0"
    assert files_in(folder / "figures") == {f"{n}_step_{s:08d}.png" for n in ("layers", "scatter") for s in (3, 6)}
    assert (folder / "projector_config.pbtxt").is_file()
    assert ae("latent", folder, "--grid", "3").code == 0
    assert files_in(folder / "figures" / "latent") == {"reconstructions.png", "scatter.png", "layers.png", "grid.png"}


def test_an_unknown_figure_is_one_sentence_and_leaves_no_run(
    ae: Callable[..., Any], quick: list[str], tmp_path: Path
) -> None:
    code, _, err = ae("fit", *quick, "--trainer.callbacks", "Figures", "--trainer.callbacks.names", "[grids]")
    assert code == 2
    assert "OvercompleteAutoencoder has no figure grids; did you mean grid?" in err
    assert not list(tmp_path.rglob("version_*"))
