"""A full disk, or a folder that may not be written any more, amid a run: one sentence, and what there was is kept."""

import os
import resource
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.tensorboard import SummaryWriter

from ae_lightning.callbacks.figures import Figures
from ae_lightning.callbacks.snapshots import WeightSnapshots
from ae_lightning.cli.fit.trainer_setup import CheckpointFiles
from ae_lightning.models.overcomplete import OvercompleteAutoencoder
from ae_lightning.run.loggers import MetricsCSV
from ae_lightning.run.run import Run

FIGURES = "{class_path: Figures, init_args: {names: [scatter], schedule: {every: 2, unit: epochs}, projector: false}}"
# Six steps an epoch.
FIT = [
    *("fit", "--config", "overcomplete_digits", "--model.latent_dim", "16", "--trainer.callbacks", f"[{FIGURES}]"),
    *("--trainer.max_epochs", "3", "--data.batch_size", "256", "--images.schedule.count", "1"),
    *("--snapshots.schedule.every", "4", "--snapshots.schedule.unit", "steps"),
    *("--snapshots.schedule.count", "null", "--trainer.log_every_n_steps", "2"),
]
RUN = Path("lightning_logs/overcomplete_digits/version_0")
LAST = RUN / "checkpoints" / "last.ckpt"
TENTH_STEP = 9


@pytest.fixture
def fill_the_disk() -> Iterator[Callable[[int], None]]:
    """Let no file of this process grow beyond so many bytes, until the test is over."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


WRITERS = {
    "a snapshot": (WeightSnapshots, "_take", "snapshots/step_00000012.safetensors"),
    "a checkpoint": (CheckpointFiles, "save_checkpoint", "checkpoints/best.ckpt"),
    "the table of metrics": (MetricsCSV, "log_metrics", "metrics.csv"),
    "a figure": (Figures, "_show", "figures/scatter_step_00000012.png"),
    "TensorBoard's events": (SummaryWriter, "flush", ""),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_disk_that_fills_up_in_the_second_epoch(
    name: str, ae: Callable[..., Any], fill_the_disk: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, method, file = WRITERS[name]
    write, step, steps = getattr(owner, method), OvercompleteAutoencoder.training_step, [0]

    def counts(model: OvercompleteAutoencoder, batch: Any, index: int) -> Any:
        steps.append(model.trainer.global_step)
        return step(model, batch, index)

    def finds_no_room(self: Any, *args: Any, **options: Any) -> Any:
        if steps[-1] >= TENTH_STEP:
            fill_the_disk(100)
        return write(self, *args, **options)

    monkeypatch.setattr(OvercompleteAutoencoder, "training_step", counts)
    monkeypatch.setattr(owner, method, finds_no_room)
    outcome = ae(*FIT)
    fill_the_disk(resource.RLIM_INFINITY)
    monkeypatch.setattr(owner, method, write)
    assert outcome.code == 2, outcome.err
    message = outcome.err.strip().splitlines()[-1]
    assert message.startswith(f"ae-lightning: error: {RUN / file}: file too large; training broke off at step ")
    assert int(message.partition("at step ")[2].partition(",")[0]) >= TENTH_STEP
    assert f"go on with `ae-lightning fit --ckpt_path {LAST}`" in message
    assert "Traceback" not in outcome.err
    assert_whole(RUN)
    assert ae("fit", "--ckpt_path", LAST).code == 0
    assert list(Run.load(RUN).snapshots) == [0, 4, 8, 12, 16, 18]


def assert_whole(run: Path) -> None:
    """Everything that is there can be read, and there is no half of anything."""
    assert torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] >= 6
    assert not list(run.rglob("*.tmp"))
    opened = Run.load(run)
    assert list(opened.snapshots)[:3] == [0, 4, 8]
    assert all(opened.snapshots[step] for step in opened.snapshots)
    assert {path.name for path in (run / "snapshots").iterdir()} == {
        "index.json",
        *(entry["file"] for entry in opened.snapshots.index),
    }
    assert set(opened.series("train/loss")[0]) >= {2, 4, 6, 8}


@pytest.mark.parametrize("place", ["snapshots", "checkpoints"])
def test_a_folder_in_which_nothing_may_be_written_any_more(
    place: str, ae: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # Permissions do not bind root, and root may run the tests: a file in place of the folder binds anybody.
    step, kept = OvercompleteAutoencoder.training_step, tmp_path / "kept"

    def loses_it(model: OvercompleteAutoencoder, batch: Any, index: int) -> Any:
        if model.trainer.global_step == TENTH_STEP:
            (RUN / place).rename(kept)
            (RUN / place).touch()
        return step(model, batch, index)

    monkeypatch.setattr(OvercompleteAutoencoder, "training_step", loses_it)
    outcome = ae(*FIT)
    assert outcome.code == 2, outcome.err
    message = outcome.err.strip().splitlines()[-1]
    assert message.startswith(f"ae-lightning: error: {RUN / place}")
    assert "; training broke off at step 12, and what had been saved is kept" in message
    assert "Traceback" not in outcome.err
    (RUN / place).unlink()
    kept.rename(RUN / place)
    assert_whole(RUN)


def test_a_prediction_report_and_page_that_find_no_room(
    ae: Callable[..., Any], run: Path, fill_the_disk: Callable[[int], None]
) -> None:
    before = {path for path in run.rglob("*") if path.is_file()}
    commands = {
        "predictions/best.safetensors": ["predict", "--ckpt_path", run / "checkpoints" / "best.ckpt"],
        "report.html": ["report", run],
        "explorer.html": ["explore", run],
        "figures/sparsity/mean_activation.png": ["sparsity", run, "--no-animation"],
    }
    for file, command in commands.items():
        fill_the_disk(2000)
        outcome = ae(*command)
        fill_the_disk(resource.RLIM_INFINITY)
        assert outcome.code == 2, (file, outcome)
        assert outcome.err.strip().splitlines()[-1].endswith(": file too large"), outcome.err
        assert "Traceback" not in outcome.err
    assert {path for path in run.rglob("*") if path.is_file()} == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_disk_that_is_really_full(ae: Callable[..., Any], tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, check=False).returncode != 0:
        pytest.skip("no disk can be mounted here")
    try:
        outcome = ae(*FIT, "--trainer.max_epochs", "40", "--trainer.default_root_dir", disk)
        assert outcome.code == 2
        message = outcome.err.strip().splitlines()[-1]
        assert message.startswith(f"ae-lightning: error: {disk}")
        assert ": no space left on device; training broke off at step" in message
        assert "Traceback" not in outcome.err
        run = disk / RUN
        assert not list(run.rglob("*.tmp"))
        opened = Run.load(run)
        assert all(opened.snapshots[step] for step in opened.snapshots)
        assert set(opened.series("train/loss")[0]) >= {2, 4}
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root can mount a small disk")
@pytest.mark.parametrize("room", [0, 16])
def test_a_disk_that_is_full_when_training_starts(room: int, ae: Callable[..., Any], tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, check=False).returncode != 0:
        pytest.skip("no disk can be mounted here")
    try:
        (disk / "other").write_bytes(bytes((128 - room) * 1024))
        outcome = ae(*FIT, "--trainer.default_root_dir", disk)
        assert outcome.code == 2, outcome
        message = outcome.err.strip().splitlines()[-1]
        assert message.startswith(f"ae-lightning: error: {disk}")
        assert "no space left on device" in message
        assert "Traceback" not in outcome.err
        assert [path.name for path in disk.iterdir()] == ["other"]
    finally:
        subprocess.run(["umount", "-l", disk], check=True)
