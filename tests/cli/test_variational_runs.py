"""Variational autoencoders from the command line: what is printed, drawn and refused."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ae_lightning.cli.main import main
from ae_lightning.report.sections.posterior import PosteriorSection
from ae_lightning.report.subject import Subject
from ae_lightning.run.readable import ReadableRun


@pytest.fixture(scope="module")
def run(fit_once: Callable[..., Path]) -> Path:
    return fit_once(
        *("--model", "vae", "--model.latent_dim", "4", "--data", "digits", "--data.binarize", "true"),
        *("--trainer.max_epochs", "1", "--trainer.limit_train_batches", "3", "--snapshots.schedule.count", "2"),
    )


def results_of(run: Path) -> dict:
    return json.loads((run / "metrics.json").read_text())


def test_a_fit_ends_with_the_quick_bound_in_its_numbers(run):
    results = results_of(run)
    assert (results["bound"]["samples"], results["bound"]["images"]) == (64, 360)
    assert len(results["posterior"]["kl_of_latents"]) == 4
    assert results["model"]["penalties"] == {"kl": 1.0}
    assert "reconstruction_loss" not in results["model"]


def test_evaluate_tells_the_bound_that_is_asked_for(run, tmp_path, capsys):
    copy = Path(shutil.copytree(run, tmp_path / "run"))
    capsys.readouterr()
    assert main(["evaluate", str(copy), "--bound-samples", "3"]) == 0
    said = " ".join(capsys.readouterr().out.split())
    found = results_of(copy)
    assert (found["bound"]["samples"], found["bound"]["images"]) == (3, 360)
    assert f"at most {found['bound']['nats']:.2f}" in said
    assert "(3 codes for each of 360)" in said
    assert f"{found['posterior']['active']} of 4 active" in said
    assert found["bound"]["nats"] > results_of(run)["bound"]["nats"]


def test_a_report_has_the_posterior(run):
    section = PosteriorSection(Subject(ReadableRun.load(run)))
    assert [figure().get_axes()[0].get_ylabel() for figure in section.figures().values()] == ["KL divergence in nats"]
    (table,) = section.tables()
    assert len(table.rows) == 3
    assert "64 codes for each of 360" in table.note


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--data.normalize", "standard"], "Bernoulli likelihood needs data within [0, 1]"),
        (["--model.reconstruction_loss", "mse"], "leave that out, and choose --model.likelihood"),
        (["--model.capacity", "-1", "--model.beta", "2"], "--model.capacity is -1; it must be at least 0"),
        (["--model.capacity", "3"], "--model.capacity needs --model.beta"),
    ],
)
def test_a_mistake_ends_with_exit_code_2_and_a_sentence(options, said, tmp_path, capsys):
    root = ["--trainer.default_root_dir", str(tmp_path)]
    assert main(["fit", "--model", "vae", "--data", "digits", "--trainer.max_epochs", "1", *root, *options]) == 2
    assert said in capsys.readouterr().err


def test_a_bound_of_a_model_that_has_none_ends_with_exit_code_2(population, capsys):
    assert main(["evaluate", str(population), "--bound-samples", "5"]) == 2
    assert "TopKSAE has no likelihood" in capsys.readouterr().err
