"""Populations on the command line: one instance, one that is not there, and all beside each other."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load_file

from ae_lightning.cli.sweep.session import Session

Run = Callable[..., Any]


@pytest.fixture
def run(population: Path, tmp_path: Path) -> Path:
    """A copy of the run, to write into."""
    return Path(shutil.copytree(population, tmp_path / "mine" / "version_0"))


def test_evaluate_prints_each_instance_and_what_a_seed_changes(ae: Run, run: Path) -> None:
    code, out, _ = ae("evaluate", run)
    assert code == 0
    listed = json.loads((run / "metrics.json").read_text())["instances"]
    assert [row["settings"] for row in listed] == [{"k": 3, "seed": 0}, {"k": 6, "seed": 0}, {"k": 6, "seed": 1}]
    for row in listed:
        numbers = row["errors"]["test"]["autoencoder"]
        cells = [row["instance"], row["settings"]["k"], row["settings"]["seed"]]
        texts = [*map(str, cells), f"{numbers['mse_per_pixel']:.5f}", f"{numbers['fvu']:.4f}"]
        assert any([cell.strip() for cell in line.split("│")[1:6]] == texts for line in out.splitlines())
    assert "the same samples in the same order" in " ".join(out.split())


def test_evaluate_prints_one_instance_alone_and_writes_all(ae: Run, run: Path) -> None:
    (run / "metrics.json").unlink()
    code, out, _ = ae("evaluate", run, "--instance", "2", "--json")
    assert code == 0
    printed, written = json.loads(out), json.loads((run / "metrics.json").read_text())
    assert len(written["instances"]) == 3
    assert printed["errors"]["test"]["autoencoder"] == written["instances"][2]["errors"]["test"]["autoencoder"]
    assert printed["errors"]["test"]["pca"] == written["errors"]["test"]["pca"]
    assert printed["latents"] == written["instances"][2]["latents"]
    assert "instances" not in printed
    code, out, _ = ae("evaluate", run, "--instance", "2")
    assert "parameters, instance 2, k 6, seed 1" in out.splitlines()[0]


def test_predict_writes_one_instance_as_a_model_of_its_own(ae: Run, run: Path) -> None:
    checkpoint = run / "checkpoints" / "best.ckpt"
    assert ae("predict", "--ckpt_path", checkpoint).code == 0
    assert ae("predict", "--ckpt_path", checkpoint, "--instance", "1").code == 0
    of_all, of_one = (load_file(run / "predictions" / f"best{which}.safetensors") for which in ("", ".instance_1"))
    for name in ("codes", "reconstructions", "errors"):
        np.testing.assert_array_equal(of_one[name], of_all[name][1])
    np.testing.assert_array_equal(of_one["labels"], of_all["labels"])


@pytest.mark.parametrize("command", ["evaluate", "report", "explore", "predict"])
def test_an_instance_that_is_not_there_is_one_sentence(ae: Run, run: Path, command: str) -> None:
    checkpoint = run / "checkpoints" / "best.ckpt"
    named = ("predict", "--ckpt_path", checkpoint) if command == "predict" else (command, run)
    before = sorted(run.rglob("*"))
    code, _, err = ae(*named, "--instance", "3")
    assert code == 2
    assert [line for line in err.splitlines() if line.startswith("ae-lightning: error")] == [
        "ae-lightning: error: the instance asked for is 3, but the TopKSAE has 3 instances, 0 to 2"
    ]
    assert sorted(run.rglob("*")) == before


def test_compare_draws_the_frontier_with_a_line_for_each_setting(
    ae: Run, population: Path, trained: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "comparison"
    code, out, _ = ae("compare", population, trained, "--labels", "many,one", "-o", folder)
    assert code == 0
    text = out.replace("\N{NO-BREAK SPACE}", " ")
    lines = [[cell.strip() for cell in line.split("│")] for line in text.splitlines() if "│" in line]
    assert [line[1] for line in lines] == ["many, k 3", "many, k 6", "one"]
    assert [line[2] for line in lines] == ["1", "2", "1"]  # starts of each
    assert "the same samples in the same order" in out
    assert out.endswith(f"{folder / 'frontier.png'}\n")
    with Image.open(folder / "frontier.png") as picture:
        assert picture.width > picture.height > 300


def test_a_sweep_has_a_line_for_each_instance_and_a_frontier(population: Path, tmp_path: Path, capsys: Any) -> None:
    folder = tmp_path / "sweep"
    shutil.copytree(population, folder / "latent_dim=24,seed=7" / "version_0")
    known = {name: {"values": {"latent_dim": 24}, "seed": seed} for name, seed in NAMES.items()}
    Session(folder, ["latent_dim"], known).run([], jobs=1, lock=0)
    listed = json.loads((population / "metrics.json").read_text())["instances"]
    with (folder / "sweep.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["instance"], row["instance_k"], row["seed"]) for row in rows] == [
        ("0", "3", "7"),
        ("1", "6", "7"),
        ("2", "6", "7"),
    ]
    for row, own in zip(rows, listed, strict=True):
        assert float(row["fvu"]) == pytest.approx(own["errors"]["test"]["autoencoder"]["fvu"])
        assert float(row["l0"]) == pytest.approx(own["latents"]["l0"])
    out = capsys.readouterr().out
    assert f"frontier: {folder / 'frontier.png'}" in out.replace("\n", "")
    assert (folder / "frontier.png").is_file()
    assert "instance_k" in out


NAMES = {"latent_dim=24,seed=7": 7, "latent_dim=24,seed=8": 8}
"""Runs of a sweep by the names of their folders; the second has not begun."""
