"""Folders of runs that are missing, half-written, damaged or in use; and what may be damaged in one that is read."""

import fcntl
import os
import shutil
from pathlib import Path

import pytest

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

#: A file of the run, what stands in its place, words of the answer, and the commands that must give it.
DAMAGED = {
    # --- settings
    "no settings": (SETTINGS, GONE, ("not a run's folder", "no config.yaml"), [EVALUATE, REPORT, LATENT, EXPLORE]),
    "settings cut short": (SETTINGS, "seed: 0\nmodel: {a", ("config.yaml", "line 2"), [EVALUATE, RESUME]),
    "empty settings": (SETTINGS, "", ("config.yaml", "options by name"), [EVALUATE, REPORT, LATENT, COMPARE, RESUME]),
    "settings that are a list": (SETTINGS, "- 1\n", ("config.yaml", "options by name"), [EVALUATE, COMPARE, RESUME]),
    "settings not in YAML": (SETTINGS, "a: [\n", ("config.yaml, line 2", "not valid"), [EVALUATE, REPORT, COMPARE]),
    "settings that are no text": (SETTINGS, b"\xff\xfe\x00", ("not a YAML text file",), [EVALUATE, COMPARE, RESUME]),
    "settings that hold themselves": (SETTINGS, "data: &d [*d]\n", ("the value itself",), [EVALUATE, COMPARE, RESUME]),
    "settings without data": (SETTINGS, "seed: 0\n", ("names no data",), [EVALUATE, REPORT, LATENT, EXPLORE]),
    "a number for the data": (SETTINGS, "data: 5\n", ("data that cannot be built",), [EVALUATE, LATENT, SPARSITY]),
    "data of a class that is gone": (
        SETTINGS, resolved("DigitsDataModule", "GoneDataModule"), ("GoneDataModule",), [EVALUATE, REPORT, RESUME],
    ),
    "data with an option that is gone": (
        SETTINGS, resolved("val_fraction", "gone"), ("gone",), [EVALUATE, EXPLORE, RESUME],
    ),
    "data that run a command": (SETTINGS, OS_SYSTEM, ("os.system",), [EVALUATE, REPORT, LATENT, SPARSITY, EXPLORE]),
    # --- checkpoints
    "no checkpoints": ("checkpoints", GONE, ("no checkpoint",), [EVALUATE, REPORT, LATENT, SPARSITY, EXPLORE, RESUME]),
    "no checkpoint to go on from": ("checkpoints/last.ckpt", GONE, ("no checkpoint at", "there: best.ckpt"), [RESUME]),
    # --- what was logged
    "a log that is no text": (NUMBERS, b"\xff\xfe\x00\n\x80", ("metrics.csv is damaged",), [EVALUATE, REPORT, RESUME]),
    "a log of something else": (NUMBERS, "hello\nworld\n", ("no column `step`",), [EVALUATE, COMPARE, RESUME]),
    "a log with a word": (NUMBERS, "step,epoch,val/loss\n1,0,a\n", ("metrics.csv", "'a'"), [EVALUATE, COMPARE, RESUME]),
    "a log without a step": (NUMBERS, "step,val/loss\n,1\n", ("metrics.csv, line 2", "step"), [EVALUATE, RESUME]),
    "a log of a short line": (NUMBERS, "step,epoch\n1,2\n2\n3,4\n", ("line 3", "columns"), [EVALUATE, COMPARE]),
    "a log of a long line": (NUMBERS, "step,epoch\n1,2,3\n", ("line 2", "columns"), [EVALUATE, SPARSITY, RESUME]),
    "numbers cut short": ("metrics.json", HALF, ("metrics.json is damaged", "evaluate"), [COMPARE, REPORT]),
    "numbers that are a list": ("metrics.json", "[]", ("metrics.json is damaged", "evaluate"), [COMPARE, REPORT]),
    # --- snapshots and resampled latents
    "an index cut short": (INDEX, HALF, ("index.json is damaged",), [REPORT, SPARSITY, EXPLORE, RESUME]),
    "an index that is no list": (INDEX, "{}", ("index.json is damaged", "no list"), [REPORT, SPARSITY, RESUME]),
    "an index of nothing": (INDEX, '[{"a": 1}]', ("index.json is damaged",), [REPORT, SPARSITY, EXPLORE, RESUME]),
    "an index of files elsewhere": (INDEX, ELSEWHERE, ("index.json", "beside it"), [REPORT, EXPLORE, RESUME]),
    "resampled latents cut short": ("resampling.csv", "step,instance,latent\n1,x,3\n", ("resampling.csv",), [RESUME]),
}  # fmt: skip

#: A file of the run, what stands in its place, and commands that make do.
BEARABLE = {
    "numbers cut short": ("metrics.json", HALF, [EVALUATE, LATENT, RESUME]),
    "numbers that are a list": ("metrics.json", "[]", [EVALUATE, RESUME]),
    "a log whose last line is cut short": (NUMBERS, HALF, [EVALUATE, REPORT, COMPARE]),
    "an empty log": (NUMBERS, "", [EVALUATE, REPORT, COMPARE, RESUME]),
    "no log": (NUMBERS, GONE, [EVALUATE, REPORT, COMPARE, RESUME]),
    "no snapshots": ("snapshots", GONE, [EVALUATE, REPORT, EXPLORE, RESUME]),
    "no best checkpoint": ("checkpoints/best.ckpt", GONE, [EVALUATE, REPORT, LATENT]),
    "latents cut short": ("latents.csv", HALF, [EVALUATE, REPORT, RESUME]),
    "a snapshot cut short": ("snapshots/step_00000000.safetensors", HALF, [REPORT, EXPLORE, RESUME]),
    "a snapshot that is gone": ("snapshots/step_00000000.safetensors", GONE, [REPORT, EXPLORE, RESUME]),
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


def each_command(table):
    return [
        pytest.param(name, command, id=f"{name}: {command[0]}") for name, row in table.items() for command in row[-1]
    ]


@pytest.mark.parametrize(("name", "command"), each_command(DAMAGED))
def test_a_damaged_file_of_a_run_is_named_and_nothing_is_changed(name, command, run, trained, tmp_path, refused):
    shutil.copytree(trained, tmp_path / "other")
    file, content, words, _ = DAMAGED[name]
    damage(run, file, content)
    refused(command, *words)


@pytest.mark.parametrize(("name", "command"), each_command(BEARABLE))
def test_what_is_not_needed_may_be_damaged(name, command, run, trained, tmp_path, ae):
    shutil.copytree(trained, tmp_path / "other")
    file, content, _ = BEARABLE[name]
    damage(run, file, content)
    outcome = ae(*command)
    assert outcome.code == 0, outcome.err


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
