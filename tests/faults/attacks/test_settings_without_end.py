"""Texts and files that would never come to an end: values by the billion, pipes, devices, brackets within brackets."""

import os
import shutil

import pytest
import torch

from ae_lightning.errors import ConfigError
from ae_lightning.models.checkpoint import load_autoencoder
from ae_lightning.run.run import Run
from ae_lightning.yaml_file import BeyondMeasure, read_settings

MODEL = "model:\n  class_path: OvercompleteAutoencoder\n  init_args:\n    latent_dim: 8\n"
BOMB = "a0: &a0 [1]\n" + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 12))
AS_A_MODEL = f"class_path: OvercompleteAutoencoder\ninit_args:\n  latent_dim: 8\n{BOMB}"

#: Text of mine.yaml, other files, options, and facts of the answer; `pipe` is a pipe that nobody writes to.
ENDLESS = {
    "aliases in a part": ("model: part.txt\n", {"part.txt": AS_A_MODEL}, [], "part.txt", "100,000 values"),
    "aliases in a part of a part": (
        "model: part.yaml\n",
        {"part.yaml": "deep.json\n", "deep.json": AS_A_MODEL},
        [],
        "deep.json",
        "100,000 values",
    ),
    "aliases in a part by an option": (MODEL, {"part": AS_A_MODEL}, ["--model", "part"], "part", "100,000 values"),
    "aliases in a list of callbacks": (
        f"{MODEL}trainer:\n  callbacks: part.txt\n",
        {"part.txt": BOMB},
        [],
        "part.txt",
        "100,000 values",
    ),
    "aliases in an option": (MODEL, {}, ["--data.init_args", BOMB], "100,000 values"),
    "aliases in a config of another name": (MODEL, {"more": BOMB}, ["--config", "more"], "more", "100,000 values"),
    "a hundred thousand values": (f"{MODEL}x: [{'1,' * 200_000}]\n", {}, [], "mine.yaml", "100,000 values"),
    "more than a file of settings has": (f"{MODEL}# {'x' * 4_000_000}\n", {}, [], "mine.yaml", "4,000,000"),
    "brackets in a part": ("model: part.txt\n", {"part.txt": "[" * 50_000}, [], "part.txt", "deep"),
    "a pipe for the model": ("model: pipe\n", {}, [], "pipe is a pipe or a device"),
    "a pipe for a callback": (f"{MODEL}trainer:\n  callbacks: [pipe]\n", {}, [], "pipe is a pipe"),
    "a pipe in a part": ("model: part.txt\n", {"part.txt": MODEL.replace("8", "pipe")}, [], "pipe is a pipe"),
    "a pipe for the optimizer": (f"{MODEL}    optimizer: pipe\n", {}, [], "pipe is a pipe"),
    "a pipe by an option": (MODEL, {}, ["--model", "pipe"], "pipe is a pipe"),
    "a pipe for a schedule": (MODEL, {}, ["--snapshots.schedule", "pipe"], "pipe is a pipe"),
    "a pipe for a config": (MODEL, {}, ["--config", "pipe"], "--config pipe"),
    "a device": ("model: /dev/zero\n", {}, [], "/dev/zero is a pipe or a device"),
    "a pipe for the data": (
        f"{MODEL}data: {{class_path: ArraysDataModule, init_args: {{train: pipe}}}}\n",
        {},
        [],
        "pipe",
    ),
}


@pytest.fixture
def pipe(tmp_path):
    os.mkfifo(tmp_path / "pipe")


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", ENDLESS)
def test_settings_without_end_are_refused_in_one_sentence(name, pipe, write, refused):
    text, files, options, *facts = ENDLESS[name]
    write({"mine.yaml": text, **files})
    refused(["--safe", "fit", "--config", "mine.yaml", *options], *facts)


@pytest.mark.parametrize("content", ["config.yaml", "a part", "pipe", "/dev/zero"])
def test_what_a_runs_settings_name_is_looked_at_before_it_is_opened(content, pipe, run, here, tmp_path, told):
    (tmp_path / "part").write_text(AS_A_MODEL)
    if content == "config.yaml":
        (run / "config.yaml").write_text(BOMB)
        told(lambda: Run.load(run).data, "config.yaml", "100,000 values")
    else:
        (run / "config.yaml").write_text(f"data: {content.removeprefix('a ')}\n")
        told(lambda: Run.load(run).data)


def test_what_a_checkpoints_settings_name_is_looked_at_before_it_is_opened(pipe, here, trained, tmp_path, told):
    checkpoint = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)
    checkpoint["hyper_parameters"]["lr_scheduler"] = "pipe"
    torch.save(checkpoint, tmp_path / "x.ckpt")
    told(lambda: load_autoencoder(tmp_path / "x.ckpt"), "pipe is a pipe")


@pytest.mark.timeout(60)
def test_a_pipe_among_the_files_of_a_run_is_not_waited_for(run, tmp_path, told):
    for name in ("metrics.csv", "metrics.json", "resampling.csv", "latents.csv", "checkpoints/best.ckpt"):
        (run / name).unlink(missing_ok=True)
        os.mkfifo(run / name)
    there = Run.load(run)
    assert (there.metrics["step"].size, there.results, there.latents["latent"].size) == (0, {}, 0)
    assert there.checkpoint.name == "last.ckpt"
    first = run / "snapshots" / "step_00000000.safetensors"
    first.unlink()
    os.mkfifo(first)
    told(lambda: there.snapshots[0], "step_00000000.safetensors")
    (run / "config.yaml").unlink()
    os.mkfifo(run / "config.yaml")
    told(lambda: Run.load(run), "config.yaml")
    shutil.rmtree(run / "snapshots")


def test_limits_leave_room_for_what_people_write(tmp_path):
    path = tmp_path / "sweep.yaml"
    path.write_text("runs:\n" + "".join(f"  run_{n}:\n    values: {{a: {n}}}\n    seed: 0\n" for n in range(10_000)))
    assert len(read_settings(path)["runs"]) == 10_000
    assert issubclass(BeyondMeasure, ConfigError)
