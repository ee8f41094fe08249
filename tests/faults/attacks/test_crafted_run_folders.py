"""Folders of runs and sweeps that somebody made by hand: numbers, tables, indexes and records."""

import json
import shutil
from pathlib import Path

import pytest
import safetensors.torch
import torch
import yaml

from ae_lightning.cli.sweep.results import measured as row_of_a_sweep
from ae_lightning.cli.sweep.results import read_statuses
from ae_lightning.cli.sweep.settings import _read_record
from ae_lightning.report.subject import Subject
from ae_lightning.run.place import claim
from ae_lightning.run.readable import ReadableRun
from ae_lightning.run.results import as_row, read_results
from ae_lightning.run.run import Run
from ae_lightning.run.snapshots import SnapshotWriter

DIGITS = "9" * 5000


def entry(**changes):
    return json.dumps([{"step": 0, "epoch": 0, "images_seen": 0, "file": "step_00000000.safetensors", **changes}])


#: A file of the run, what stands in it, and facts of the answer.
CRAFTED = {
    "numbers within numbers": ("metrics.json", "[" * 100_000, "deep"),
    "names within names": ("metrics.json", '{"a":' * 100_000, "deep"),
    "five thousand digits": ("metrics.json", f'{{"seed": {DIGITS}}}', "5,000 digits"),
    "a text for a number": ("metrics.json", '{"model": {"parameters": "many"}}', "'model.parameters'"),
    "a number for a section": ("metrics.json", '{"model": 5}', "'model'"),
    "null for a section": ("metrics.json", '{"errors": null}', "'errors'"),
    "a list for an error": ("metrics.json", '{"errors": {"test": []}}', "'errors.test'"),
    "a text for an error": (
        "metrics.json", '{"errors": {"test": {"pca": {"mse_per_pixel": "0"}}}}', "'errors.test.pca.mse_per_pixel'",
    ),
    "a number for a hash": ("metrics.json", '{"data": {"hash": 5}}', "'data.hash'"),
    "a truth for a seed": ("metrics.json", '{"seed": true}', "'seed'"),
    "a shape without end": ("metrics.json", json.dumps({"model": {"latent_shape": [9] * 99}}), "latent_shape"),
    "a probe in words": ("metrics.json", '{"probes": {"probe/latent": "good"}}', "'probes.probe/latent'"),
    "a step that is no number": ("metrics.csv", "step,val/loss\nnan,1\n", "metrics.csv, line 2", "whole number"),
    "a step of five thousand digits": ("metrics.csv", f"step,val/loss\n{DIGITS},1\n", "metrics.csv, line 2"),
    "half a step": ("metrics.csv", "step,val/loss\n0.5,1\n", "metrics.csv, line 2"),
    "a step below zero": ("metrics.csv", "step,val/loss\n-1,1\n", "metrics.csv, line 2"),
    "a step in Arabic": ("metrics.csv", "step,val/loss\n٣,1\n", "metrics.csv, line 2"),
    "a cell of a megabyte": ("metrics.csv", f"step,val/loss\n1,{'1' * 1_000_000}\n", "metrics.csv"),
    "a null byte": ("metrics.csv", "step,val/loss\n1,\0\n", "metrics.csv"),
    "a latent below zero": ("resampling.csv", "step,instance,latent\n1,0,-3\n", "resampling.csv"),
    "a latent of five thousand digits": ("resampling.csv", f"step,instance,latent\n1,0,{DIGITS}\n", "resampling.csv"),
    "latents beyond 64 bits": (
        "latents.csv", f"instance,latent,mean_activation,firing_density\n0,{'9' * 40},0,0\n", "latents.csv",
    ),
    "a long line of latents": (
        "latents.csv", f"instance,latent,mean_activation,firing_density\n0,0,0,{'1' * 1_000_000}\n", "too long",
    ),
    "an index within itself": ("snapshots/index.json", "[" * 100_000, "deep"),
    "a truth for a step": ("snapshots/index.json", entry(step=True), "index.json"),
    "a step below zero in the index": ("snapshots/index.json", entry(step=-1), "index.json"),
    "a text for the samples": ("snapshots/index.json", entry(images_seen="x"), "index.json"),
    "a text for the epoch": ("snapshots/index.json", entry(epoch="x"), "index.json"),
    "the folder for a file": ("snapshots/index.json", entry(file=""), "index.json"),
    "the folder above": ("snapshots/index.json", entry(file=".."), "index.json"),
    "a folder beside": ("snapshots/index.json", entry(file="../x.safetensors"), "index.json"),
    "a whole path": ("snapshots/index.json", entry(file="/etc/x.safetensors"), "index.json"),
    "a null byte in a file's name": ("snapshots/index.json", entry(file="\0.safetensors"), "index.json"),
    "a name of a megabyte": ("snapshots/index.json", entry(file="x" * 1_000_000), "index.json"),
}  # fmt: skip

READERS = {
    "metrics.json": lambda run: run.results,
    "metrics.csv": lambda run: run.metrics,
    "resampling.csv": lambda run: run.resampled,
    "latents.csv": lambda run: run.latents,
    "snapshots/index.json": lambda run: run.snapshots,
}


@pytest.mark.parametrize("name", CRAFTED)
def test_a_crafted_file_of_a_run_is_refused_in_one_sentence(name, tmp_path, told):
    file, content, *facts = CRAFTED[name]
    (tmp_path / file).parent.mkdir(exist_ok=True)
    (tmp_path / file).write_text(content)
    told(lambda: READERS[file](Run(tmp_path)), Path(file).name, *facts)


@pytest.mark.parametrize("text", ["NaN", "Infinity", "-Infinity", "1e400", "null"])
def test_a_number_that_is_none_is_read_as_none(text, tmp_path):
    """Earlier versions wrote NaN and Infinity, which JSON has not."""
    content = '{"errors": {"test": {"autoencoder": {"mse_per_pixel": NUMBER, "fvu_reason": "alike"}}}, "seconds": 1.5}'
    (tmp_path / "metrics.json").write_text(content.replace("NUMBER", text))
    row = as_row(read_results(tmp_path))
    assert (row["test_mse_per_pixel"], row["seconds"]) == (None, 1.5)


def test_numbers_that_a_sweep_needs_are_asked_for(tmp_path, told):
    (tmp_path / "metrics.json").write_text('{"model": {"parameters": 3}}')
    told(lambda: row_of_a_sweep(tmp_path), "metrics.json", "latent_size", "`ae-lightning evaluate`")


@pytest.fixture
def lacking(trained, tmp_path):
    """Two runs whose numbers lack most of their parts, in a and b."""
    for name in "ab":
        run = shutil.copytree(trained, tmp_path / name / "version_0")
        (run / "metrics.json").write_text('{"checkpoint": "best.ckpt", "recovery": {}, "errors": {"test": {}}}')


def test_runs_whose_numbers_lack_their_parts_are_compared(lacking, ae):
    outcome = ae("compare", "a", "b")
    assert outcome.code == 0, outcome.err


def test_a_report_of_numbers_that_lack_their_parts_measures_them_anew(lacking, tmp_path):
    results = Subject(ReadableRun.load(tmp_path / "a" / "version_0")).results
    assert results["errors"]["test"]["autoencoder"]["mse_per_pixel"] > 0


def record(**changes):
    runs = {"a=1,seed=0": {"values": {"a": 1}, "seed": 0}}
    return {"keys": {"model.a": "a"}, "settings": {}, "parts": {"model.a": {}}, "runs": runs, **changes}


RUN = {"values": {"a": 1}, "seed": 0}

RECORDS = {
    "no settings": {"settings": None},
    "a list of runs": {"runs": [1]},
    "a number for a run": {"runs": {"a": 5}},
    "a run without a seed": {"runs": {"a": {"values": {"a": 1}}}},
    "a text for a seed": {"runs": {"a": {"values": {"a": 1}, "seed": "0"}}},
    "a run without its values": {"runs": {"a": {"values": {}, "seed": 0}}},
    "a run elsewhere": {"runs": {"../../secret": RUN}},
    "a run at a whole path": {"runs": {"/etc": RUN}},
    "a run above": {"runs": {"..": RUN}},
    "the folder itself": {"runs": {".": RUN}},
    "a run without a name": {"runs": {"": RUN}},
    "a run by a number": {"runs": {5: RUN}},
    "a run with a null byte": {"runs": {"a\0": RUN}},
    "a list for a key": {"keys": {"model.a": [1]}},
    "parts of other keys": {"parts": {}},
    "a date for a value": {"runs": {"a": {"values": {"a": yaml.safe_load("2020-01-01")}, "seed": 0}}},
    "a text for the parts of a key": {"parts": {"model.a": "x"}},
}


@pytest.mark.parametrize("name", RECORDS)
def test_a_crafted_record_of_a_sweep_is_refused_in_one_sentence(name, tmp_path, told):
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(record(**RECORDS[name])))
    told(lambda: _read_record(tmp_path), "sweep.yaml is damaged", "-o")


def test_a_record_as_sweep_writes_it_is_read(tmp_path):
    (tmp_path / "sweep.yaml").write_text(yaml.safe_dump(record()))
    assert _read_record(tmp_path) == record()


@pytest.mark.parametrize("content", [b"\xff\xfe", b'"a\n' + b"x" * 200_000], ids=["no text", "a field without end"])
def test_a_crafted_table_of_a_sweep_is_refused(content, tmp_path, told):
    (tmp_path / "sweep.csv").write_bytes(content)
    told(lambda: read_statuses(tmp_path / "sweep.csv"), "sweep.csv is damaged")


def test_names_that_only_look_like_ours_are_left_alone(tmp_path):
    for name in ("version_²", "version_x", "version_3"):
        (tmp_path / "a" / name).mkdir(parents=True)
    assert claim(tmp_path, "a").name == "version_4"
    for name in ("step_x", "step_²", "step_00000009"):
        safetensors.torch.save_file({"a": torch.zeros(1)}, tmp_path / f"{name}.safetensors")
    SnapshotWriter(tmp_path, 5).remove_later()
    assert sorted(path.name for path in tmp_path.glob("*.safetensors")) == ["step_x.safetensors", "step_².safetensors"]
