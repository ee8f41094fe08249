"""`ae-lightning report`: what it writes for a run of every variant, what it says of damage, and what it refuses."""

import base64
import html
import io
import re
import shutil
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
import yaml
from PIL import Image

from ae_lightning.cli.configs import packaged
from ae_lightning.cli.report import telling
from ae_lightning.report.reading import TITLES_AND_READINGS
from ae_lightning.run.run import Run

VARIANTS = [name.partition("/")[2] for name in packaged() if name.startswith("model/")]
SHORT = [
    *("--trainer.max_epochs", "1", "--trainer.limit_train_batches", "2", "--trainer.limit_val_batches", "1"),
    *("--snapshots.schedule.count", "2", "--images.schedule.count", "1"),
]
EVERYWHERE = {"training", "reconstructions", "interpolation", "arithmetic", "scatter"}
OF_A_VECTOR = {"latent_histograms"}
OF_ONE_SPACE = {"interpolation", "arithmetic", "cosines", "units", "structure", "units_through_training"}
OF_UNITS = {"structure", "units", "causal_importance", "cosines", "spectrum"}
OF_SNAPSHOTS = {
    *("units_through_training", "importance", "top_units", "effective_rank"),
}
MEGABYTES = 1_000_000


@pytest.fixture
def small_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures of fewer pixels, which are written several times as fast."""
    monkeypatch.setattr("ae_lightning.report.report._DPI", 30)


@pytest.fixture
def few_figures(small_figures: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only those of the training and of the weights, and the reconstructions: a third of the time."""
    monkeypatch.setattr("ae_lightning.gallery.Gallery.fitting", lambda self: {"reconstructions": self.reconstructions})
    monkeypatch.setattr("ae_lightning.report.sparsity.SparsityFigures.fitting", lambda self: {})


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of a trained run of an overcomplete autoencoder on digits, to write into."""
    return shutil.copytree(trained, tmp_path / "logs" / "mine" / "version_0")


def page_of(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def sections(page: str) -> dict[str, str]:
    """HTML of each section by its title."""
    parts = re.findall(r"<section [^>]*>.*?<h2>(.*?)</h2>(.*?)</section>", page, re.DOTALL)
    assert len(parts) == page.count("<section ")
    (opening,) = re.findall(r'<div id="_summary">(.*?)<section ', page, re.DOTALL)
    return {"Summary": opening, **{html.unescape(title): body for title, body in parts}}


def headings(page: str) -> list[str]:
    return [html.unescape(text) for _, text in re.findall(r"<(h[1-6])>(.*?)</\1>", page, re.DOTALL)]


def problems(page: str) -> list[str]:
    return [html.unescape(text) for text in re.findall(r'<p class="problem">(.*?)</p>', page)]


def complaints(err: str) -> list[str]:
    """Lines that tell of something else than the section that is being made."""
    titles = (
        "Summary",
        "Training",
        "Reconstructions",
        "True features",
        "Units and weights",
        "The code",
        "The latent space",
        "Sources",
        "The posterior",
        "Codebook",
        "Animation",
    )
    return [line for line in err.splitlines() if not line.startswith(tuple(f"{title}: " for title in titles))]


def figures_in(page: str) -> set[str]:
    """Names of the figures that the page shows, by their titles."""
    anchors = {name.replace("_", "-"): name for name in TITLES_AND_READINGS}
    return {anchors.get(anchor, anchor.replace("-", "_")) for anchor in re.findall(r'<figure id="figure-(.*?)"', page)}


def figure_files(folder: Path) -> set[str]:
    return {path.stem for path in (folder / "figures").glob("*.png")}


def check_report(folder: Path, out: str) -> str:
    """What holds of every report; answers its page."""
    page = page_of(folder)
    assert len(page) < 10 * MEGABYTES
    assert "://" not in page
    assert f"report: {folder / 'report.html'}\n" in out
    assert f"open it: file://{(folder / 'report.html').absolute()}\n" in out
    for title, body in sections(page).items():
        assert "<figure" in body or "<table" in body or "problem" in body or title in ("Summary", "Explorer"), title
    assert len(set(headings(page))) == len(headings(page))
    assert page.count('class="verdict ') == 1
    assert page.count("<dt>") == 4
    assert html.unescape(re.findall(r'<p class="verdict [a-z]+">(.*?)</p>', page)[0]) == out.splitlines()[0]
    assert figures_in(page) == figure_files(folder)
    assert page.count("<img ") == len(figure_files(folder))
    anchors = re.findall(r'id="(.*?)"', page)
    assert len(set(anchors)) == len(anchors)
    return page


# What is written


@pytest.mark.parametrize(
    "name", [name if name in ("stacked", "conv") else pytest.param(name, marks=pytest.mark.slow) for name in VARIANTS]
)
@pytest.mark.usefixtures("small_figures")
def test_every_variant_has_a_report(name: str, ae: Callable[..., Any], tmp_path: Path) -> None:
    options = yaml.safe_load(packaged()[f"model/{name}"].read_text(encoding="utf-8"))["init_args"]
    narrower = ["--model.latent_dim", "24"] if options.get("latent_dim", 0) > 100 else []
    for option in {"k", "target_l0"} & options.keys():
        narrower += [f"--model.{option}", "4"]
    if name == "transcoder":  # what it produces is not what it reads
        np.save("x.npy", np.random.default_rng(0).normal(size=(60, 64)).astype(np.float32))
        np.save("y.npy", np.load("x.npy")[:, ::-1])
        narrower += ["--data", "ArraysDataModule", "--data.train", "x.npy", "--data.target", "y.npy"]
    assert ae("fit", "--model", name, *narrower, *SHORT, "--experiment", name).code == 0
    folder = tmp_path / "lightning_logs" / name / "version_0"
    code, out, err = ae("report", folder, "--units", "4")
    assert (code, complaints(err)) == (0, [])
    page = check_report(folder / "report", out)
    run = Run.load(folder)
    has_histograms = len(run.model.latent_shape) == 1 and name != "toy_model"  # whose codes have a figure of their own
    # Codes that decode to another space than samples', which are no pictures here.
    left_out = OF_ONE_SPACE if name == "transcoder" else set()
    assert figures_in(page) >= (EVERYWHERE | (OF_A_VECTOR if has_histograms else set())) - left_out
    assert ("relative_norms" in figures_in(page)) == (name == "crosscoder")
    is_shallow = name in ("overcomplete", "crosscoder", "transcoder") or name.endswith("_sae")
    for units in (OF_UNITS, OF_SNAPSHOTS, {"removal", "fraction_active"}):
        assert figures_in(page) & units == (units - left_out if is_shallow else set())
    assert is_shallow or "contributions" not in figures_in(page)
    assert ("Units and weights" in sections(page)) == is_shallow
    assert ("Explorer" in sections(page)) == ("conv" not in name and name not in ("transcoder", "vqvae"))
    assert not [section for title, section in sections(page).items() if "problem" in section and title != "Summary"]
    found = {title: html.unescape(body) for title, body in sections(page).items()}
    numbers, settings = found["Numbers and baselines"], found["What was trained"]
    assert f"{run.results['errors']['test']['autoencoder']['mse_per_pixel']:.5f}" in numbers
    assert run.results["data"]["hash"] in settings
    assert type(run.model).__name__ in found["Summary"]


@pytest.mark.slow
@pytest.mark.usefixtures("small_figures")
def test_a_sparse_autoencoder_on_a_toy_model_has_a_report(ae: Callable[..., Any], tmp_path: Path) -> None:
    toy = ("--data.toy_steps", "20", "--data.root", tmp_path, "--data.num_val", "64", "--data.num_test", "600")
    assert ae("fit", "--config", "toy_sae", *SHORT[:6], *toy, "--trainer.callbacks", "null").code == 0
    folder = tmp_path / "lightning_logs" / "toy_sae" / "version_0"
    code, out, err = ae("report", folder)
    assert (code, complaints(err)) == (0, [])
    page = check_report(folder / "report", out)
    assert figures_in(page) >= {
        "features",
        "hidden_states",
        "causal_importance",
        "removal",
        "cosines",
        "mean_activation",
    }
    assert figures_in(page) >= {"recovery", "exciting_samples", "decoder_cosines"}
    no_pictures = {"structure", "units", "interpolation", "arithmetic", "samples", "grid"}
    assert not figures_in(page) & no_pictures  # of two numbers each
    assert "true features found" in sections(page)["Summary"]
    assert "true features recovered" in sections(page)["Numbers and baselines"]
    assert "random encoder" not in page
    assert problems(page) == problems(sections(page)["Summary"])


def test_the_page_shows_the_figures_that_lie_beside_it(ae: Callable[..., Any], run: Path) -> None:
    code, out, err = ae("report", run)
    assert (code, complaints(err)) == (0, [])
    folder = run / "report"
    page = check_report(folder, out)
    assert str(folder / "figures") in out
    for anchor, data in re.findall(r'<figure id="figure-(.*?)".*?src="data:image/png;base64,(.*?)"', page, re.DOTALL):
        name = anchor.replace("-", "_")
        with (
            Image.open(io.BytesIO(base64.b64decode(data))) as image,
            Image.open(folder / "figures" / f"{name}.png") as f,
        ):
            shown, kept = (np.asarray(picture.convert("RGB")).astype(int) for picture in (image, f))
        assert shown.shape == kept.shape, name
        assert np.abs(shown - kept).mean() < 2, name
    with Image.open(folder / "figures" / "units.gif") as gif:
        assert gif.n_frames == len(Run.load(run).snapshots)
    assert str(folder / "units.html") in out
    assert [line for line in out.splitlines() if line.startswith("  ")] == [f"  {text}" for text in problems(page)]


@pytest.mark.usefixtures("few_figures")
def test_a_report_again_is_the_same_and_measures_no_baseline_again(
    ae: Callable[..., Any], run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ae("report", run, "--units", "2").code == 0
    first = page_of(run / "report")
    assert f"<code>ae-lightning explore {run}</code> writes a page" in first
    assert (run.parent.parent / "baselines.json").is_file()
    monkeypatch.setattr("ae_lightning.report.baselines.error_of_sets", None)
    assert ae("report", run, "--units", "2").code == 0
    assert page_of(run / "report") == first
    assert "random encoder" in first


@pytest.mark.usefixtures("few_figures")
def test_a_folder_snapshots_and_a_checkpoint_can_be_named(ae: Callable[..., Any], run: Path, tmp_path: Path) -> None:
    where = tmp_path / "new" / "folder"
    code, out, err = ae(
        "report", run / "checkpoints" / "last.ckpt", "-o", where, "--snapshots", "1,last", "--units", "3"
    )
    assert code == 0
    assert err.startswith("nearest snapshots: 0, 2\nSummary: ")
    assert list(Run.load(run).snapshots) == [0, 2]
    check_report(where, out)
    assert not (run / "report").exists()


@pytest.mark.usefixtures("few_figures")
def test_it_tells_what_it_is_doing(ae: Callable[..., Any], run: Path) -> None:
    """A line for each section, as it begins, where there is no terminal for a bar."""
    code, out, err = ae("report", run, "--units", "2")
    assert code == 0
    told = dict(line.split(": ") for line in err.splitlines())
    shown = [title for title, body in sections(page_of(run / "report")).items() if "<figure" in body]
    assert list(told) == [*shown, "Animation"]
    made = {name for title, parts in told.items() if title != "Animation" for name in parts.split(", ")}
    assert made == figures_in(page_of(run / "report")) | {"numbers and baselines"}
    assert "Training" not in out


def test_on_a_terminal_a_bar_tells_it(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # as if standard error were a terminal
    with telling({"Summary": ["numbers"], "[b]": ["one", "two"]}) as tell:
        for section, part in (("Summary", "numbers"), ("[b]", "one"), ("[b]", "two")):
            tell(section, part)
    out, err = capsys.readouterr()
    shown = re.sub(r"\x1b\[[^A-Za-z]*[A-Za-z]", "", err)
    assert out == ""
    assert "2/3" in shown
    assert "[b]: two" in shown


@pytest.mark.usefixtures("few_figures")
def test_a_run_that_is_still_training_has_a_report(ae: Callable[..., Any], run: Path) -> None:
    (run / "metrics.json").unlink()
    (run / "latents.csv").unlink()
    code, out, err = ae("report", run)
    assert (code, complaints(err)) == (0, [])
    page = check_report(run / "report", out)
    assert problems(page)[0] == "The run has not come to its end: these are the numbers of a checkpoint."
    assert "this autoencoder" in sections(page)["Numbers and baselines"]
    assert '">So far ' in page


# Damage


@pytest.mark.usefixtures("small_figures")
def test_a_snapshot_cut_short_is_left_out_and_named_once(ae: Callable[..., Any], run: Path) -> None:
    path = run / "snapshots" / "step_00000000.safetensors"
    path.write_bytes(path.read_bytes()[:-1])
    code, out, err = ae("report", run)
    assert (code, complaints(err)) == (0, [])
    page = check_report(run / "report", out)
    named = [text for text in problems(page) if path.name in text]
    assert named == [f"Snapshots that are missing or damaged were left out: {path.name}."]
    assert f"  {named[0]}\n" in out
    assert figures_in(page) >= EVERYWHERE | OF_A_VECTOR | OF_UNITS | {"removal", "fraction_active"}
    assert not figures_in(page) & OF_SNAPSHOTS  # only one is left


@pytest.mark.usefixtures("small_figures")
def test_what_cannot_be_drawn_is_told_and_all_else_is_drawn(ae: Callable[..., Any], run: Path) -> None:
    path = run / "snapshots" / "step_00000000.safetensors"
    weights = safetensors.torch.load_file(path)
    safetensors.torch.save_file({name: part * torch.nan for name, part in weights.items()}, path)
    code, out, err = ae("report", run)
    assert code == 0
    page = check_report(run / "report", out)
    drawn_in_vain = [text for title, body in sections(page).items() if title != "Summary" for text in problems(body)]
    assert drawn_in_vain
    lines = complaints(err)
    assert lines[: len(drawn_in_vain)] == [f"not drawn: {text}" for text in drawn_in_vain]
    assert all(line.startswith("not drawn: ") for line in lines)
    assert figures_in(page) >= EVERYWHERE | OF_UNITS - {"spectrum", "structure"}


# Mistakes


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--units", "0"], "--units is 0; it must be at least 1"),
        (["--snapshots", "0,x"], "--snapshots 0,x: 'x' is no optimizer step, nor first or last"),
        (["--snapshots", ""], "--snapshots : '' is no optimizer step, nor first or last"),
        (["--snapshots", "-1"], "--snapshots -1: '-1' is no optimizer step, nor first or last"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_sentence_and_leaves_no_file(
    options: list[str], message: str, ae: Callable[..., Any], run: Path
) -> None:
    option, value = options
    code, out, err = ae("report", run, f"{option}={value}")
    assert (code, out, err) == (2, "", f"ae-lightning: error: {message}\n")
    assert not (run / "report").exists()


def test_snapshots_that_there_are_not(ae: Callable[..., Any], run: Path) -> None:
    shutil.rmtree(run / "snapshots")
    code, out, err = ae("report", run, "--snapshots", "0,last")
    assert (code, out) == (2, "")
    assert err == f"ae-lightning: error: --snapshots: there are no weight snapshots in {run / 'snapshots'}\n"
    assert not (run / "report").exists()


@pytest.mark.usefixtures("few_figures")
def test_without_snapshots_the_others_are_drawn(ae: Callable[..., Any], run: Path) -> None:
    shutil.rmtree(run / "snapshots")
    code, out, err = ae("report", run)
    assert (code, complaints(err)) == (0, [])
    page = check_report(run / "report", out)
    assert figures_in(page) == {"training", "reconstructions", "removal"} | OF_UNITS
    assert not (run / "report" / "units.html").exists()


@pytest.mark.usefixtures("few_figures")
def test_it_leads_to_the_explorer(ae: Callable[..., Any], run: Path, tmp_path: Path) -> None:
    assert ae("explore", run).code == 0
    for folder in (run / "report", tmp_path / "else where"):
        assert ae("report", run, "-o", folder).code == 0
        address = re.search(r'<a href="([^"#]+)">Explore the network', page_of(folder))
        assert address is not None
        assert (folder / urllib.parse.unquote(address[1])).resolve() == (run / "explorer.html").resolve()


def test_a_run_that_there_is_not(ae: Callable[..., Any], trained: Path, tmp_path: Path) -> None:
    assert ae("report", "nowhere") == (2, "", "ae-lightning: error: there is no run folder at nowhere\n")
    code, _, err = ae("report", tmp_path)
    assert code == 2
    assert "is not a run's folder: it has no config.yaml" in err
    shutil.copy(trained / "checkpoints" / "best.ckpt", tmp_path / "bare.ckpt")
    code, _, err = ae("report", "bare.ckpt")
    assert code == 2
    assert "bare.ckpt lies in no run's folder" in err


def test_a_run_whose_class_is_gone(ae: Callable[..., Any], run: Path) -> None:
    path = run / "checkpoints" / "best.ckpt"
    content = torch.load(path, weights_only=True)
    content["autoencoder"]["class_path"] = "my_project.GoneAutoencoder"
    torch.save(content, path)
    code, out, err = ae("report", run)
    assert (code, out) == (2, "")
    assert re.fullmatch(r"ae-lightning: error: .*my_project\.GoneAutoencoder, which cannot be imported .*\n", err)
    assert not (run / "report").exists()


def test_the_help_has_an_example(ae: Callable[..., Any]) -> None:
    code, out, _ = ae("report", "--help")
    assert code == 0
    assert "ae-lightning report lightning_logs/" in out
    for word in ("--snapshots STEPS", "--units N", "-o DIR", "RUN_OR_CHECKPOINT"):
        assert word in " ".join(out.split())
