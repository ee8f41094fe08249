"""Transcoders and crosscoders by the command line: trained, measured, reported, gone on with, predicted."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

from ae_lightning.models.checkpoint import model_settings, read_checkpoint
from ae_lightning.report.sections.sources import SourcesSection
from ae_lightning.report.subject import Subject
from ae_lightning.run.run import Run

SHORT = [
    *("--model.latent_dim", "12", "--model.k", "2", "--trainer.max_epochs", "1"),
    *("--snapshots.schedule.count", "2", "--data", "ArraysDataModule", "--data.train", "x.npy"),
]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Samples of six numbers, and targets of three, in the folder that the command works in."""
    g = np.random.default_rng(0)
    x = g.normal(size=(600, 6)).astype("float32")
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", np.maximum(x @ g.normal(size=(6, 3)), 0).astype("float32") + 7)
    np.save(tmp_path / "narrow.npy", x[:, :2])
    return tmp_path


@pytest.mark.slow
def test_a_transcoder_from_its_first_step_to_its_report(files: Path, ae: Callable[..., Any]) -> None:
    code, out, err = ae("fit", "--model", "transcoder", *SHORT, "--data.target", "y.npy")
    assert (code, err) == (0, "")
    assert "Transcoder 6 → 12 → 3" in out
    (run,) = files.glob("lightning_logs/Transcoder/version_0")
    last = run / "checkpoints" / "last.ckpt"
    assert tuple(model_settings(read_checkpoint(last))["target_shape"]) == (3,)

    code, out, err = ae("fit", "--ckpt_path", last, "--trainer.max_epochs", "2")
    assert (code, err) == (0, "")
    assert Run.load(run).results["data"]["has_targets"]

    assert ae("predict", "--ckpt_path", last).code == 0
    found = load_file(run / "predictions" / "last.safetensors")
    data = Run.load(run).data
    data.setup("test")
    _, _, target = data.test_set.take(99)
    assert found["reconstructions"].shape == (60, 3)
    np.testing.assert_allclose(found["errors"], np.square(found["reconstructions"] - target.numpy()).mean(1), rtol=1e-5)

    assert ae("report", run).code == 0
    page = (run / "report" / "report.html").read_text(encoding="utf-8")
    for words in ("regression", "mean of the training targets", "targets against what the model produces"):
        assert words in page
    figures = {path.stem for path in (run / "report" / "figures").iterdir()}
    assert {"reconstructions", "removal", "causal_importance"} <= figures
    assert not {"cosines", "contributions"} & figures

    code, _, err = ae("explore", run)
    assert code == 2
    assert "this Transcoder: it gives something else than its input again" in err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "these data have no targets: name them with --data.target, or choose an autoencoder such as TopKSAE"),
        (["--data.target", "z.npy"], "--data.target names z.npy, which does not exist"),
        (
            ["--data.target", "y.npy", "--model.threshold", "1"],
            "--model.threshold is given, but a code by topk has none",
        ),
    ],
)
def test_a_mistake_is_one_sentence(files: Path, ae: Callable[..., Any], options: list[str], message: str) -> None:
    code, _, err = ae("fit", "--model", "transcoder", *SHORT, *options)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
    assert not list(files.glob("lightning_logs/*/*"))


def test_other_targets_than_the_checkpoint_s_are_refused(files: Path, ae: Callable[..., Any]) -> None:
    assert ae("fit", "--model", "transcoder", *SHORT, "--data.target", "y.npy").code == 0
    last = files / "lightning_logs" / "Transcoder" / "version_0" / "checkpoints" / "last.ckpt"
    code, _, err = ae("fit", "--ckpt_path", last, "--data.target", "narrow.npy", "--trainer.max_epochs", "2")
    assert code == 2
    assert "targets of ArraysDataModule are 2, but the model in" in err


def test_what_data_say_is_recorded_of_those_alone_that_ask_for_it(files: Path, ae: Callable[..., Any]) -> None:
    """A crosscoder is read again, though the command line told it of no targets; its report tells of each source."""
    code, out, err = ae("fit", "--model", "crosscoder", *SHORT, "--model.source_dims", "[4,2]")
    assert (code, err) == (0, "")
    assert "of source 1" in out
    run = files / "lightning_logs" / "Crosscoder" / "version_0"
    assert "target_shape" not in model_settings(read_checkpoint(run / "checkpoints" / "last.ckpt"))
    subject = Subject(Run.load(run))
    assert subject.results["parts"].keys() == {"source_0", "source_1"}
    section = SourcesSection(subject)
    (table,) = section.tables()
    assert [row[:2] for row in table.rows] == [["source 0", "4"], ["source 1", "2"]]
    counts = [patch.get_height() for patch in section.figures()["relative_norms"]().axes[0].patches]
    assert sum(counts) == 12
