"""`ae-lightning sparsity`: which pictures it writes, what it says of them, and what it refuses."""

import base64
import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from ae_lightning.models.checkpoint import load_autoencoder
from ae_lightning.report.sparsity import SparsityFigures
from ae_lightning.run.run import Run

SMALL = [
    *("--config", "toy_model", "--data.steps_per_epoch", "20", "--data.batch_size", "8", "--data.num_val", "16"),
    *("--data.num_test", "40", "--data.instances", "3", "--model.instances", "3", "--trainer.max_epochs", "1"),
    *("--snapshots.schedule.count", "3", "--snapshots.schedule.spacing", "linear"),
]
OF_A_TOY_MODEL = {"features.png", "interference.png"}
OVERCOMPLETE = {
    *("mean_activation.png", "latent_histograms.png", "contributions.png"),
    *("fraction_active.png", "active_latents.png", "dead_latents.png"),
}
ANIMATION = {"animation.html", "animation.gif"}


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of a trained run of an overcomplete autoencoder on digits, to write into."""
    return shutil.copytree(trained, tmp_path / "mine" / "version_0")


@pytest.fixture
def toy(fit_once: Callable[..., Path], tmp_path: Path) -> Path:
    """A copy of a run of three toy models, to write into."""
    return shutil.copytree(fit_once(*SMALL), tmp_path / "toy_model" / "version_0")


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def pixels(picture: Figure | Path) -> np.ndarray:
    if isinstance(picture, Path):
        return np.asarray(Image.open(picture).convert("RGB"))
    picture.set_dpi(150)
    canvas = FigureCanvasAgg(picture)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def test_all_that_fits_is_drawn_and_each_has_a_sentence(ae: Callable[..., Any], run: Path) -> None:
    code, out, err = ae("sparsity", run)
    assert (code, err) == (0, "")
    folder = run / "figures" / "sparsity"
    assert files_in(folder) == OVERCOMPLETE
    lines = out.splitlines()
    assert {Path(line) for line in lines[::2]} == {folder / name for name in OVERCOMPLETE}
    for sentence in lines[1::2]:
        assert re.fullmatch(r"  [A-Z].+\.", sentence)
    figures = SparsityFigures(Run.load(run))
    for name, draw in figures.fitting().items():
        assert np.array_equal(pixels(folder / f"{name}.png"), pixels(draw())), name


def test_a_sample_and_a_folder_can_be_named(ae: Callable[..., Any], run: Path, tmp_path: Path) -> None:
    assert ae("sparsity", run, "--sample", "5", "-o", tmp_path / "new" / "folder").code == 0
    assert not (run / "figures").exists()
    shown = pixels(tmp_path / "new" / "folder" / "contributions.png")
    figures = SparsityFigures(Run.load(run))
    assert np.array_equal(shown, pixels(figures.contributions(5)))
    assert not np.array_equal(shown, pixels(figures.contributions(6)))


def test_a_checkpoint_is_shown_as_it_is(ae: Callable[..., Any], run: Path) -> None:
    content = torch.load(run / "checkpoints" / "best.ckpt", weights_only=True)
    content["state_dict"] = {name: -weights for name, weights in content["state_dict"].items()}
    other = run / "checkpoints" / "other.ckpt"
    torch.save(content, other)
    assert ae("sparsity", other).code == 0
    shown = pixels(run / "figures" / "sparsity" / "mean_activation.png")
    assert np.array_equal(shown, pixels(SparsityFigures(Run.load(run), load_autoencoder(other)).mean_activation()))
    assert not np.array_equal(shown, pixels(SparsityFigures(Run.load(run)).mean_activation()))


def test_the_animation_has_a_frame_for_each_snapshot(ae: Callable[..., Any], toy: Path) -> None:
    code, out, err = ae("sparsity", toy, "--instances", "2")
    assert (code, err) == (0, "")
    folder = toy / "figures" / "sparsity"
    assert files_in(folder) == OF_A_TOY_MODEL | ANIMATION
    frames, captions = SparsityFigures(Run.load(toy)).animation(2)
    page = (folder / "animation.html").read_text(encoding="utf-8")
    content = json.loads(re.findall(r'<script id="animation"[^>]*>(.*?)</script>', page, re.DOTALL)[0])
    assert content["captions"] == captions == ["step 0", "step 10", "step 20"]
    for shown, frame in zip(content["frames"], frames, strict=True):
        image = np.asarray(Image.open(io.BytesIO(base64.b64decode(shown))).convert("RGB")).astype(int)
        assert image.shape == frame.shape
        assert np.abs(image - frame).mean() < 1
    assert "<title>toy_model/version_0</title>" in page
    with Image.open(folder / "animation.gif") as gif:
        assert (gif.n_frames, gif.size) == (3, frames[0].shape[1::-1])
    assert str(folder / "animation.html") in out
    assert str(folder / "animation.gif") in out
    figure = SparsityFigures(Run.load(toy)).features(2)
    assert np.array_equal(pixels(folder / "features.png"), pixels(figure))


def test_the_animation_can_be_left_out(ae: Callable[..., Any], toy: Path) -> None:
    assert ae("sparsity", toy, "--no-animation").code == 0
    assert files_in(toy / "figures" / "sparsity") == OF_A_TOY_MODEL


def test_an_animation_that_takes_seconds_is_announced(
    ae: Callable[..., Any], toy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ae_lightning.cli.sparsity._AT_ONCE", 2)
    assert ae("sparsity", toy).err == "drawing the animation of 3 snapshots …\n"


def test_without_snapshots_the_others_are_drawn(ae: Callable[..., Any], run: Path, toy: Path) -> None:
    for folder, missing in ((run, "fraction_active"), (toy, "animation")):
        shutil.rmtree(folder / "snapshots")
        code, _, err = ae("sparsity", folder)
        assert (code, err) == (0, f"no {missing}: there are no weight snapshots in {folder / 'snapshots'}\n")
    assert files_in(run / "figures" / "sparsity") == OVERCOMPLETE - {"fraction_active.png"}
    assert files_in(toy / "figures" / "sparsity") == OF_A_TOY_MODEL
    assert ae("sparsity", toy, "--no-animation").err == ""


def test_a_figure_that_cannot_be_made_says_why_and_the_others_go_on(ae: Callable[..., Any], toy: Path) -> None:
    path = toy / "snapshots" / "step_00000010.safetensors"
    weights = safetensors.torch.load_file(path)
    safetensors.torch.save_file({name: part * torch.nan for name, part in weights.items()}, path)
    code, out, err = ae("sparsity", toy)
    assert code == 2
    assert re.fullmatch(r"ae-lightning: error: animation cannot be drawn: .*finite.*\n", err)
    assert files_in(toy / "figures" / "sparsity") == OF_A_TOY_MODEL
    path.write_bytes(b"half")
    code, out, err = ae("sparsity", toy)
    assert code == 2
    assert re.fullmatch(
        r"ae-lightning: error: animation cannot be drawn: the snapshot .* is missing or damaged .*\n", err
    )
    assert len(out.splitlines()) == 2 * len(OF_A_TOY_MODEL)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--sample", "12345"], "sample 12345 is not in the test set, which has 360 (0 to 359)"),
        (["--sample", "-1"], "sample -1 is not in the test set, which has 360 (0 to 359)"),
        (["--instances", "0"], "--instances is 0; it must be at least 1"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_sentence_and_leaves_no_file(
    options: list[str], message: str, ae: Callable[..., Any], run: Path
) -> None:
    code, out, err = ae("sparsity", run, *options)
    assert (code, out, err) == (2, "", f"ae-lightning: error: {message}\n")
    assert not (run / "figures").exists()


def test_a_sample_of_a_model_that_is_not_taken_apart(ae: Callable[..., Any], toy: Path) -> None:
    code, out, err = ae("sparsity", toy, "--sample", "3")
    assert (code, out) == (2, "")
    assert "--sample is of no use here: reconstructions of ToyModel are not taken apart" in err


def test_a_code_of_maps_has_nothing_to_draw(ae: Callable[..., Any], quick: list[str], tmp_path: Path) -> None:
    assert ae("fit", "--model", "ConvAutoencoder", *quick[4:], "--model.latent_channels", "4").code == 0
    folder = next(tmp_path.glob("lightning_logs/*/version_0"))
    code, out, err = ae("sparsity", folder)
    assert (code, out) == (2, "")
    assert "the code of ConvAutoencoder is no vector but maps" in err
    assert "`ae-lightning latent`" in err
    assert not (folder / "figures").exists()


def test_a_run_that_there_is_not(ae: Callable[..., Any], trained: Path, tmp_path: Path) -> None:
    code, _, err = ae("sparsity", "nowhere")
    assert (code, err) == (2, "ae-lightning: error: there is no run folder at nowhere\n")
    code, _, err = ae("sparsity", tmp_path)
    assert code == 2
    assert "is not a run's folder: it has no config.yaml" in err
    shutil.copy(trained / "checkpoints" / "best.ckpt", tmp_path / "bare.ckpt")
    code, _, err = ae("sparsity", "bare.ckpt")
    assert code == 2
    assert "bare.ckpt lies in no run's folder" in err


def test_the_help_has_an_example(ae: Callable[..., Any]) -> None:
    code, out, _ = ae("sparsity", "--help")
    assert code == 0
    assert "ae-lightning sparsity lightning_logs/" in out
    for word in ("--sample N", "--instances N", "--no-animation", "-o DIR", "RUN_OR_CHECKPOINT"):
        assert word in " ".join(out.split())
