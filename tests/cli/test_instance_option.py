"""`--instance`: one of a population, and one that is not there."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

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
