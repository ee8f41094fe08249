"""Runs, sweeps and checkpoints that were written before rooms were moved still open, and mean the same."""

import csv
import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from ae_lightning import DigitsDataModule, Run, load_autoencoder
from ae_lightning.cli.main import main
from ae_lightning.models import variants
from ae_lightning.models.checkpoint import model_settings, read_checkpoint
from ae_lightning.models.sparse_dictionary import SparseDictionary
from ae_lightning.testing.building import quiet_trainer
from ae_lightning.testing.digits import ReshapedDigits

HERE = Path(__file__).parent
OUTPUTS = json.loads((HERE / "checkpoints" / "outputs.json").read_text())
SPARSE = json.loads((HERE / "sparse" / "outputs.json").read_text())


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the run, in a folder to work in."""
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(HERE / "run", tmp_path / "lightning_logs" / "sae" / "version_0"))


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path(shutil.copytree(HERE / "sweep", tmp_path / "sweep"))


def errors_in(path: Path) -> dict[str, float]:
    test = json.loads(path.read_text())["errors"]["test"]
    return {name: numbers["mse_per_pixel"] for name, numbers in test.items()}


def test_there_is_a_checkpoint_of_each_variant() -> None:
    assert OUTPUTS.keys() == {path.stem for path in HERE.glob("checkpoints/*.ckpt")}
    assert SPARSE.keys() == {path.stem for path in HERE.glob("sparse/*.ckpt")}
    assert OUTPUTS.keys() | {entry["class"] for entry in SPARSE.values()} <= variants().keys()


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_checkpoint_computes_what_it_did(name: str, digits: DigitsDataModule) -> None:
    model = load_autoencoder(HERE / "checkpoints" / f"{name}.ckpt")
    toy = torch.rand(2, 5, generator=torch.Generator().manual_seed(0))
    x_hat, z = model(toy if name == "ToyModel" else digits.test_set.take(2)[0])
    assert x_hat.flatten()[:8].tolist() == pytest.approx(OUTPUTS[name]["x_hat"], abs=2e-5)
    assert float(z.double().sum()) == pytest.approx(OUTPUTS[name]["z_sum"], abs=1e-4)
    assert model.images_seen == OUTPUTS[name]["images_seen"]


@pytest.mark.parametrize("name", SPARSE)
def test_a_sparse_dictionary_is_what_it_was(
    name: str, digits: DigitsDataModule, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its codes, its state by name, and what a training from there comes to after two more steps."""
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    path, expected = HERE / "sparse" / f"{name}.ckpt", SPARSE[name]
    model = load_autoencoder(path)
    assert isinstance(model, SparseDictionary)
    assert type(model).__name__ == expected["class"]
    assert sums_of(model.snapshot()) == {key: pytest.approx(sum_, abs=1e-4) for key, sum_ in expected["state"].items()}
    x = digits.test_set.take(20)[0]
    assert outputs_of(model, x) == pytest.approx(expected["before"], abs=1e-4)
    assert outputs_of(model.fold(), x)[:8] == pytest.approx(expected["before"][:8], abs=1e-4)
    data = ReshapedDigits((1, 8, 8), has_targets=True) if model.needs_targets else digits
    trainer = quiet_trainer(tmp_path, max_steps=4, limit_val_batches=0)
    trainer.fit(type(model)(**model_settings(read_checkpoint(path))), data, ckpt_path=path, weights_only=True)
    assert isinstance(trainer.model, SparseDictionary)
    assert outputs_of(trainer.model.eval(), x) == pytest.approx(expected["after"], abs=2e-3)


def sums_of(snapshot: Mapping[str, torch.Tensor]) -> dict[str, float]:
    """A sum of each tensor, of those that are no numbers yet zero."""
    return {name: float(value.double().nan_to_num().sum()) for name, value in snapshot.items()}


@torch.no_grad()
def outputs_of(model: SparseDictionary, x: torch.Tensor) -> list[float]:
    """Eight numbers of a reconstruction, and for the first samples the sum of the code."""
    x_hat, z = model.eval()(x)
    return [*x_hat.flatten()[:8].tolist(), *z.sum(-1).flatten()[:4].tolist()]


def test_a_run_is_read(run: Path) -> None:
    opened = Run.load(run)
    assert list(opened.snapshots) == [0, 6, 12]
    assert opened.series("val/loss")[0].tolist() == [0, 6, 12]
    assert set(opened.resampled["step"].tolist()) == {4}
    assert len(opened.latents["latent"]) == 24
    last = opened.model_at(12).decoder_vectors
    assert torch.equal(last, load_autoencoder(run / "checkpoints" / "last.ckpt").decoder_vectors)
    assert np.allclose(last.detach().norm(dim=-1), 1, atol=1e-5)


def test_a_run_is_evaluated(run: Path) -> None:
    before = errors_in(run / "metrics.json")
    (run / "metrics.json").unlink()
    assert main(["evaluate", str(run)]) == 0
    assert errors_in(run / "metrics.json") == pytest.approx(before, rel=1e-5)


def test_a_run_goes_on_to_what_the_earlier_version_came_to(run: Path) -> None:
    truth = errors_in(HERE / "metrics_after_a_third_epoch.json")
    assert main(["fit", "--ckpt_path", str(run / "checkpoints" / "last.ckpt"), "--trainer.max_epochs", "3"]) == 0
    assert errors_in(run / "metrics.json") == pytest.approx(truth, rel=1e-4)
    assert Run.load(run).series("val/loss")[0].tolist() == [0, 6, 12, 18]


@pytest.mark.parametrize("command", ["report", "explore", "sparsity"])
def test_a_run_is_shown(command: str, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, str(run)]) == 0
    assert "not drawn" not in capsys.readouterr().err
    page = {
        "report": "report/report.html",
        "explore": "explorer.html",
        "sparsity": "figures/sparsity/fraction_active.png",
    }
    assert (run / page[command]).stat().st_size > 10_000


def test_a_sweep_is_taken_up(sweep: Path, capfd: pytest.CaptureFixture[str]) -> None:
    options = ["--trainer.max_epochs", "1", "--trainer.limit_train_batches", "2", "--trainer.callbacks", "null"]
    options += ["--snapshots.schedule.count", "2", "--images.schedule.count", "1"]
    grid = ["--grid", "model.latent_dim=4,8", "--seeds", "0", "-o", str(sweep)]
    before = (sweep / "sweep.csv").read_text()
    assert main(["sweep", "--config", "overcomplete_digits", *grid, *options]) == 0
    assert "2 of them finished already" in capfd.readouterr().out
    assert list(csv.reader(before.splitlines())) == list(csv.reader((sweep / "sweep.csv").read_text().splitlines()))


def test_runs_of_both_are_compared(run: Path, sweep: Path) -> None:
    assert main(["compare", str(run), str(sweep), "-o", "out"]) == 0
    with Path("out/compare.csv").open(newline="") as file:
        assert len(list(csv.DictReader(file))) == 3
