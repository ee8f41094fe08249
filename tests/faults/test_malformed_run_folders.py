"""Folders of runs that are missing, half-written, damaged or in use; and what may be damaged in one that is read."""

import fcntl
import os
import shutil
from pathlib import Path

import pytest

from ae_lightning.run.run import Run

RUN = "run/version_0"
RESUME = ["fit", "--ckpt_path", f"{RUN}/checkpoints/last.ckpt", "--trainer.max_epochs", "2"]
EVALUATE, REPORT, LATENT, SPARSITY = ([command, RUN] for command in ("evaluate", "report", "latent", "sparsity"))
EXPLORE, COMPARE = ["explore", RUN], ["compare", RUN, "other"]
HALF = object()  #: cut in the middle
GONE = object()


def resolved(change: str, to: str):
    """The run's own config with a piece of text in place of another."""
    return lambda text: text.replace(change, to)


OS_SYSTEM = "data:\n  class_path: os.system\n  init_args: {command: touch owned}\n"
SETTINGS, NUMBERS, INDEX = "config.yaml", "metrics.csv", "snapshots/index.json"
ELSEWHERE = '[{"step": 0, "epoch": 0, "images_seen": 0, "file": "../../x"}]'

#: A file of the run, what stands in its place, what reads it, and facts of the answer.
DAMAGED = {
    # --- settings
    "no settings": (SETTINGS, GONE, lambda run: run, "config.yaml"),
    "settings cut short": (SETTINGS, "seed: 0\nmodel: {a", lambda run: run.config, "config.yaml", "line 2"),
    "empty settings": (SETTINGS, "", lambda run: run.config, "config.yaml"),
    "settings that are a list": (SETTINGS, "- 1\n", lambda run: run.config, "config.yaml"),
    "settings not in YAML": (SETTINGS, "a: [\n", lambda run: run.config, "config.yaml, line 2"),
    "settings that are no text": (SETTINGS, b"\xff\xfe\x00", lambda run: run.config, "config.yaml"),
    "settings that hold themselves": (SETTINGS, "data: &d [*d]\n", lambda run: run.config, "config.yaml, line 1"),
    "settings without data": (SETTINGS, "seed: 0\n", lambda run: run.data, "config.yaml", "data"),
    "a number for the data": (SETTINGS, "data: 5\n", lambda run: run.data, "config.yaml", "data"),
    "data of a class that is gone": (
        SETTINGS, resolved("DigitsDataModule", "GoneDataModule"), lambda run: run.data, "GoneDataModule",
    ),
    "data with an option that is gone": (SETTINGS, resolved("val_fraction", "gone"), lambda run: run.data, "gone"),
    "data that run a command": (SETTINGS, OS_SYSTEM, lambda run: run.data, "os.system"),
    # --- checkpoints
    "no checkpoints": ("checkpoints", GONE, lambda run: run.checkpoint, "best.ckpt", "last.ckpt"),
    # --- what was logged
    "a log that is no text": (NUMBERS, b"\xff\xfe\x00\n\x80", lambda run: run.metrics, "metrics.csv"),
    "a log of something else": (NUMBERS, "hello\nworld\n", lambda run: run.metrics, "metrics.csv", "`step`"),
    "a log with a word": (NUMBERS, "step,epoch,val/loss\n1,0,a\n", lambda run: run.metrics, "metrics.csv", "'a'"),
    "a log without a step": (NUMBERS, "step,val/loss\n,1\n", lambda run: run.metrics, "metrics.csv, line 2"),
    "a log of a short line": (NUMBERS, "step,epoch\n1,2\n2\n3,4\n", lambda run: run.metrics, "metrics.csv, line 3"),
    "a log of a long line": (NUMBERS, "step,epoch\n1,2,3\n", lambda run: run.metrics, "metrics.csv, line 2"),
    "numbers cut short": ("metrics.json", HALF, lambda run: run.results, "metrics.json", "`ae-lightning evaluate`"),
    "numbers that are a list": ("metrics.json", "[]", lambda run: run.results, "`ae-lightning evaluate`"),
    # --- snapshots and resampled latents
    "an index cut short": (INDEX, HALF, lambda run: run.snapshots, "index.json"),
    "an index that is no list": (INDEX, "{}", lambda run: run.snapshots, "index.json", "list"),
    "an index of nothing": (INDEX, '[{"a": 1}]', lambda run: run.snapshots, "index.json"),
    "an index of files elsewhere": (INDEX, ELSEWHERE, lambda run: run.snapshots, "index.json", "../../x"),
    "resampled latents cut short": (
        "resampling.csv", "step,instance,latent\n1,x,3\n", lambda run: run.resampled, "resampling.csv",
    ),
}  # fmt: skip

#: One of each kind: a row above, and the commands that must refuse it.
COMMANDS = {
    "no settings": [EVALUATE, REPORT, LATENT, SPARSITY, EXPLORE, COMPARE],
    "settings that hold themselves": [EVALUATE, COMPARE, RESUME],
    "data of a class that is gone": [EVALUATE, REPORT, RESUME],
    "data that run a command": [EVALUATE, REPORT, LATENT, SPARSITY, EXPLORE],
    "no checkpoints": [EVALUATE, REPORT, LATENT, SPARSITY, EXPLORE],
    "a log with a word": [EVALUATE, SPARSITY, COMPARE, RESUME],
    "numbers cut short": [COMPARE, REPORT],
    "an index of nothing": [REPORT, SPARSITY, EXPLORE, RESUME],
    "resampled latents cut short": [RESUME],
}

#: Damage that commands make do with: files of the run, and what stands in their places.
BEARABLE = {
    "cut short": {
        **{NUMBERS: HALF, "latents.csv": HALF, "snapshots/step_00000000.safetensors": HALF},
        "checkpoints/best.ckpt": GONE,
    },
    "empty or gone": {NUMBERS: "", "snapshots/step_00000000.safetensors": GONE},
    "nothing but the weights": {NUMBERS: GONE, "snapshots": GONE},
}


def damage(run: Path, file: str, content) -> None:
    path = run / file
    if content is GONE:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    elif content is HALF:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif callable(content):
        path.write_text(content(path.read_text()))
    else:
        path.write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.mark.parametrize("name", DAMAGED)
def test_a_damaged_file_of_a_run_is_named_with_its_fault(name, run, told):
    file, content, read, *facts = DAMAGED[name]
    damage(run, file, content)
    told(lambda: read(Run.load(run)), *facts)


@pytest.mark.parametrize(
    ("name", "command"),
    [
        pytest.param(name, command, id=f"{name}: {command[0]}")
        for name, commands in COMMANDS.items()
        for command in commands
    ],
)
def test_every_command_that_reads_it_refuses_it_and_changes_nothing(name, command, run, trained, tmp_path, refused):
    shutil.copytree(trained, tmp_path / "other")
    file, content, _, *facts = DAMAGED[name]
    damage(run, file, content)
    refused(command, *facts)


def test_a_missing_checkpoint_to_go_on_from_is_told_with_those_that_are_there(run, refused):
    damage(run, "checkpoints/last.ckpt", GONE)
    refused(RESUME, "no checkpoint at", "best.ckpt")
    damage(run, "checkpoints", GONE)
    refused(RESUME, "no checkpoint at")


@pytest.mark.parametrize(
    ("name", "command"),
    [
        pytest.param(name, command, id=f"{name}: {command[0]}", marks=[pytest.mark.slow] if command is REPORT else [])
        for name in BEARABLE
        for command in (EVALUATE, REPORT, LATENT, EXPLORE, COMPARE, RESUME)
    ],
)
def test_what_is_not_needed_may_be_damaged(name, command, run, trained, tmp_path, ae):
    shutil.copytree(trained, tmp_path / "other")
    for file, content in BEARABLE[name].items():
        damage(run, file, content)
    outcome = ae(*command)
    assert outcome.code == 0, outcome.err


@pytest.mark.parametrize("content", [HALF, "[]"], ids=["cut short", "a list"])
def test_numbers_that_are_made_anew_may_be_damaged(content, run, ae):
    damage(run, "metrics.json", content)
    assert ae(*LATENT).code == 0
    assert ae(*EVALUATE).code == 0
    assert Run.load(run).results["errors"]
    damage(run, "metrics.json", content)
    assert ae(*RESUME).code == 0


@pytest.mark.parametrize("command", ["evaluate", "report", "latent", "sparsity", "explore", "compare"])
def test_a_run_that_is_not_there_is_named(command, refused, tmp_path):
    refused([command, "nowhere"], "no run folder at nowhere")
    (tmp_path / "empty").mkdir()
    refused([command, "empty"], "empty", "not a run's folder")


def test_two_trainings_never_go_on_in_one_folder(run, ae, refused):
    other = os.open(run, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)  # as the process does that trains there
    refused(RESUME, "another process is training the run in run/version_0", "wait")
    os.close(other)  # it has ended, in whichever way
    assert ae(*RESUME).code == 0


def test_a_run_in_training_holds_its_folder_and_lets_it_go_at_the_end(run, ae, monkeypatch):
    from ae_lightning.models.overcomplete import OvercompleteAutoencoder

    held = []
    step = OvercompleteAutoencoder.training_step

    def look(self, batch, batch_idx):
        handle = os.open(run, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            held.append(self.trainer.global_step)
        finally:
            os.close(handle)
        return step(self, batch, batch_idx)

    monkeypatch.setattr(OvercompleteAutoencoder, "training_step", look)
    assert ae(*RESUME).code == 0
    assert held
    handle = os.open(run, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(handle)


def test_a_folder_is_let_go_also_after_a_mistake(run, ae, refused):
    damage(run, INDEX, "{}")
    refused(RESUME, "index.json")
    damage(run, INDEX, "[]")
    assert ae(*RESUME).code == 0


def test_a_folder_above_that_was_there_before_is_kept(refused, tmp_path):
    (tmp_path / "lightning_logs").mkdir()
    options = ["--config", "overcomplete_digits", "--trainer.strategy", "nope"]
    refused(["fit", *options], "nope")
    refused(["fit", *options, "--trainer.default_root_dir", "new/and/deep"], "nope")
