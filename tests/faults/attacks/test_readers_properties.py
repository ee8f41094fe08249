"""Every reader of a run's folder, given anything: it answers, or says in one sentence that the file is damaged."""

import json
import math
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

from ae_lightning.cli.sweep.results import read_statuses
from ae_lightning.cli.sweep.settings import _read_record
from ae_lightning.errors import UserError
from ae_lightning.models.checkpoint import load_autoencoder
from ae_lightning.run.config import read_config
from ae_lightning.run.readable import ReadableSnapshots
from ae_lightning.run.results import as_row, read_results
from ae_lightning.run.results_form import is_whole
from ae_lightning.run.run import Run
from ae_lightning.run.snapshots import Snapshots, read_index
from ae_lightning.run.tables import read_latents, read_metrics, read_resampled
from ae_lightning.yaml_file import read_yaml

plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20)
#: Names that readers look for, so that garbage gets beyond the first question.
names = st.sampled_from(
    [
        *("model", "data", "errors", "latents", "recovery", "weights", "probes", "versions", "test", "validation"),
        *("autoencoder", "pca", "mean_image", "mse_per_pixel", "latent_shape", "parameters", "mean_activation"),
        *("median", "step", "epoch", "images_seen", "file", "keys", "settings", "parts", "runs", "values", "seed"),
        *("class_path", "init_args", "state_dict", "hyper_parameters", "active", "dead", "compression_ratio", ".."),
    ]
)
nested = st.recursive(
    plain,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names | st.text(max_size=5), inner, max_size=5),
    max_leaves=25,
)
mappings = st.dictionaries(names, nested, max_size=8)
cells = st.one_of(
    st.integers().map(str),
    st.floats().map(str),
    st.text(max_size=12),
    st.sampled_from(["", "nan", "1e400", "-0", "9" * 5000, "1_0", "=1", '"', "\n", "\0", "0x1"]),
)
heads = st.sampled_from(
    ["step,val/loss,epoch", "step,instance,latent", "instance,latent,mean_activation,firing_density", "status,run"]
)
tables = st.builds(
    lambda head, rows: "\n".join([head, *(",".join(row) for row in rows), ""]).encode("utf-8", "surrogatepass"),
    heads,
    st.lists(st.lists(cells, min_size=2, max_size=5), max_size=6),
)
anything = st.one_of(
    st.binary(max_size=200),
    nested.map(lambda value: json.dumps(value).encode()),
    mappings.map(lambda value: json.dumps(value).encode()),
    mappings.map(lambda value: yaml.safe_dump(value, allow_unicode=True).encode("utf-8", "surrogatepass")),
    tables,
)

#: By the name of a reader: the file, and what is read from its folder.
READERS: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "results": ("metrics.json", read_results),
    "row of results": ("metrics.json", lambda folder: _as_json(as_row(read_results(folder)))),
    "whole results": ("metrics.json", lambda folder: is_whole(read_results(folder))),
    "metrics": ("metrics.csv", read_metrics),
    "series": ("metrics.csv", lambda folder: Run(folder).last_values("val")),
    "resampled": ("resampling.csv", read_resampled),
    "latents": ("latents.csv", lambda folder: read_latents(folder / "latents.csv")),
    "index": ("index.json", read_index),
    "snapshots": ("index.json", lambda folder: list(Snapshots(folder).values())),
    "readable snapshots": ("index.json", ReadableSnapshots),
    "config": ("config.yaml", read_config),
    "any YAML": ("x.yaml", lambda folder: read_yaml(folder / "x.yaml")),
    "record of a sweep": ("sweep.yaml", _read_record),
    "table of a sweep": ("sweep.csv", lambda folder: read_statuses(folder / "sweep.csv")),
    "snapshot": ("step_1.safetensors", lambda folder: _snapshot(folder)),
}


def _as_json(row: dict[str, Any]) -> str:
    return json.dumps({name: f"{value:.5f}" if isinstance(value, float) else value for name, value in row.items()})


def _snapshot(folder: Path) -> Any:
    (folder / "index.json").write_text('[{"step": 1, "file": "step_1.safetensors"}]')
    return Snapshots(folder)[1]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as path:
        yield Path(path)


def require_answer(read: Callable[[], Any]) -> None:
    """Require an answer or one sentence."""
    try:
        read()
    except UserError as error:
        message = str(error)
    else:
        message = ""
    assert "\n" not in message


@pytest.mark.timeout(60)
@pytest.mark.parametrize("name", READERS)
@settings(max_examples=25)
@given(content=anything)
@example(content=b"[" * 100_000)
@example(content=b'{"a":' * 100_000)
@example(content=b"a: &a [*a]")
@example(content=b"\xff\xfe\x00")
@example(content=b"")
def test_a_reader_answers_or_refuses(name: str, folder: Path, content: bytes) -> None:
    file, read = READERS[name]
    (folder / file).write_bytes(content)
    require_answer(lambda: read(folder))
    os.unlink(folder / file)


@given(content=st.data())
def test_a_changed_snapshot_is_read_or_refused(folder: Path, content: st.DataObject) -> None:
    whole = bytearray(save({"a": torch.zeros(3, 2), "b": torch.ones(2, dtype=torch.int64)}))
    for _ in range(content.draw(st.integers(1, 4))):
        whole[content.draw(st.integers(0, len(whole) - 1))] = content.draw(st.integers(0, 255))
    (folder / "step_1.safetensors").write_bytes(whole[: content.draw(st.integers(0, len(whole)))])
    require_answer(lambda: _snapshot(folder))


garbage = st.one_of(
    plain,
    st.just(""),
    st.just([]),
    st.just({}),
    st.sampled_from([torch.zeros(0), torch.zeros(2, 2), torch.tensor(math.nan), torch.zeros(3, device="meta")]),
    st.lists(plain, max_size=3),
    st.dictionaries(st.text(max_size=4) | st.integers(), plain, max_size=3),
)


@settings(max_examples=25)
@given(data=st.data())
def test_a_changed_checkpoint_makes_a_model_or_is_refused(folder: Path, trained: Path, data: st.DataObject) -> None:
    checkpoint = torch.load(trained / "checkpoints" / "last.ckpt", weights_only=True)
    for _ in range(data.draw(st.integers(1, 2))):
        inner = checkpoint
        while True:
            key = data.draw(st.sampled_from(sorted(inner, key=str)))
            if isinstance(inner[key], dict) and inner[key] and data.draw(st.booleans()):
                inner = inner[key]
                continue
            inner[key] = data.draw(garbage)
            break
    torch.save(checkpoint, folder / "x.ckpt")
    require_answer(lambda: load_autoencoder(folder / "x.ckpt"))


@settings(max_examples=25)
@given(data=st.data())
def test_a_checkpoint_with_other_bytes_is_read_or_refused(folder: Path, trained: Path, data: st.DataObject) -> None:
    whole = bytearray((trained / "checkpoints" / "last.ckpt").read_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    (folder / "y.ckpt").write_bytes(whole)
    require_answer(lambda: load_autoencoder(folder / "y.ckpt"))
