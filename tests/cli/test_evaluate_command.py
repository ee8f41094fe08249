"""`ae-lightning evaluate`: what it prints and writes."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ae_lightning.evaluation import evaluate
from ae_lightning.run import Run


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """A copy of the trained run without its numbers."""
    copy = shutil.copytree(trained, tmp_path / "mine" / "version_0")
    (copy / "metrics.json").unlink()
    return copy


def test_json_is_all_that_is_printed_and_what_is_written(ae: Callable[..., Any], run: Path) -> None:
    code, out, err = ae("evaluate", run, "--json")
    assert (code, err) == (0, "")
    results = json.loads(out)
    assert results == json.loads((run / "metrics.json").read_text())
    assert results["run"] == str(run)
    assert results["checkpoint"] == "best.ckpt"
    assert results["seed"] == 17
    opened = Run.load(run)
    measured = evaluate(opened.model, opened.data)
    assert {key: results[key] for key in measured} == measured


def test_it_gives_the_numbers_that_fit_gave(ae: Callable[..., Any], trained: Path, run: Path) -> None:
    given = json.loads((trained / "metrics.json").read_text())
    assert ae("evaluate", run, "--json").code == 0
    found = json.loads((run / "metrics.json").read_text())
    assert {**found, "run": given["run"]} == given


def test_the_tables(ae: Callable[..., Any], run: Path) -> None:
    code, out, err = ae("evaluate", run)
    assert (code, err) == (0, "")
    results = json.loads((run / "metrics.json").read_text())
    for split in ("validation", "test"):
        for errors in results["errors"][split].values():
            assert f"{errors['mse_per_pixel']:.5f}" in out
            assert f"{errors['mse_per_image']:.3f}" in out
    for words in (
        "OvercompleteAutoencoder",
        "Digits: 1,293 train",
        "PCA, 16 components",
        f"L0 {results['latents']['l0']:.1f}",
    ):
        assert words in out
    assert "linear probe" not in out  # there was none


def test_a_checkpoint_of_the_run(ae: Callable[..., Any], run: Path) -> None:
    code, out, _ = ae("evaluate", run / "checkpoints" / "last.ckpt", "--json")
    assert code == 0
    assert json.loads(out)["checkpoint"] == "last.ckpt"


def test_instances(ae: Callable[..., Any], quick: list[str], tmp_path: Path) -> None:
    assert ae("fit", *quick, "--model.instances", "3").code == 0
    code, out, _ = ae("evaluate", next(tmp_path.glob("lightning_logs/*/version_0")))
    assert code == 0
    assert "3 instances" in out


def test_a_fully_connected_model(ae: Callable[..., Any], quick: list[str], tmp_path: Path) -> None:
    options = ["--model", "FullyConnectedAutoencoder", *quick[2:]]
    assert ae("fit", *options, "--model.hidden_dims", "[32]").code == 0
    code, out, _ = ae("evaluate", next(tmp_path.glob("lightning_logs/*/version_0")), "--json")
    assert code == 0
    results = json.loads(out)
    assert results["model"]["class"] == "FullyConnectedAutoencoder"
    assert results["weights"] == {}


def test_probes_are_shown_with_their_errors(ae: Callable[..., Any], quick: list[str], tmp_path: Path) -> None:
    options = [*quick, "--trainer.callbacks", "LinearProbe"]
    assert ae("fit", *options).code == 0
    run = next(tmp_path.glob("lightning_logs/*/version_0"))
    code, out, _ = ae("evaluate", run)
    assert code == 0
    probes = json.loads((run / "metrics.json").read_text())["probes"]
    for name in ("latent", "untrained", "raw", "pca"):
        for group in ("probe", "probe_full"):
            assert f"{probes[f'{group}/{name}']:.4f} ± {probes[f'{group}/{name}_se']:.4f}" in out
