"""What is wrong with a store is one sentence that names what mends it."""

import contextlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from ae_lightning.data.store import StoredArray, StoredSamples, StoreIndex, StoreWriter, verify
from ae_lightning.data.store.index import said as command_in
from ae_lightning.errors import DataError

Write = Callable[..., StoreIndex]
COMMAND = "`ae-lightning harvest --model net:Net -o store`"


def refused(folder: Path, *words: str) -> None:
    with pytest.raises(DataError) as caught:
        StoreIndex.read(folder)
    said = str(caught.value)
    assert "\n" not in said
    assert len(said) < 500
    assert str(folder) in said
    for word in words:
        assert word in said, said


def test_there_is_no_store(tmp_path: Path) -> None:
    refused(tmp_path / "none", "--data.root names", "there is no such folder; `ae-lightning harvest` makes a store")
    refused(tmp_path, "(--data.root) holds no store: it has no index.json")


def test_an_unfinished_harvest_names_the_command_that_goes_on(write: Write, rows: Any, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "store", rows, stop=200)
    refused(tmp_path / "store", "is unfinished; ", f"{COMMAND} goes on with it.")
    (tmp_path / "store" / "harvest.json").write_text("{")
    refused(tmp_path / "store", "is unfinished; `ae-lightning harvest … -o ", "goes on with it.")


def test_another_schema(store: StoreIndex) -> None:
    change(store, {"schema": 2})
    refused(store.folder, "is a store of schema 2, and this version reads schema 1; harvest it again")


def change(store: StoreIndex, values: dict[str, Any]) -> None:
    content = json.loads((store.folder / "index.json").read_text())
    (store.folder / "index.json").write_text(json.dumps(content | values))


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"schema": 1}', "\x00", '{"schema": 1e400}', "[" * 5000, '{"schema": 1, "arrays": 3}']
)
def test_an_index_that_is_damaged(text: str, store: StoreIndex) -> None:
    (store.folder / "index.json").write_text(text)
    refused(store.folder, "harvest")


@pytest.mark.parametrize(
    "values",
    [
        {"rows": 499},
        {"rows": -1},
        {"rows": None},
        {"shard_rows": 0},
        {"shard_rows": 64},
        {"shards": []},
        {"shards": [{"file": "../secret", "rows": 500, "first_row": 0, "sha256": "", "bytes": 1}]},
        {"shards": {}},
        {"arrays": {}},
        {"arrays": {"a": {"width": -1, "dtype": "float32", "statistics": {"file": "statistics-00000.safetensors"}}}},
        {"arrays": {"a": {"width": 1, "dtype": "complex64", "statistics": {"file": "statistics-00000.safetensors"}}}},
        {"arrays": {"a": {"width": 1, "dtype": "float32", "statistics": {"file": "../../secret"}}}},
        {"arrays": {"a": {"width": 1, "dtype": "float32", "statistics": {"file": "statistics-00000.safetensors"}}}},
        {"sample_files": [{"file": "samples-00000.safetensors", "samples": 1, "sha256": "", "bytes": "many"}]},
        {"extras": ["z"]},
        {"extras": 3},
        {"sample_files": [{"file": "/etc/passwd", "samples": 1, "sha256": "", "bytes": 1}]},
        {"shape": "wide"},
        {"model": 3},
    ],
)
def test_an_index_that_contradicts_itself(values: dict[str, Any], store: StoreIndex) -> None:
    change(store, values)
    refused(store.folder, "index.json (--data.root) is damaged; harvest the store again.")


def test_files_that_are_missing_or_of_another_size(store: StoreIndex) -> None:
    shard = store.folder / "rows-00001.safetensors"
    content = shard.read_bytes()
    shard.write_bytes(content[:-10])
    mend = f"run {COMMAND} again, which makes anew what is missing or cut short."
    refused(store.folder, f"rows-00001.safetensors has {len(content) - 10:,} bytes, and not {len(content):,}; {mend}")
    shard.unlink()
    refused(store.folder, f"rows-00001.safetensors is missing; {mend}")
    shard.write_bytes(content)
    (store.folder / "statistics-00000.safetensors").unlink()
    refused(store.folder, f"statistics-00000.safetensors is missing; {mend}")


def test_statistics_that_are_damaged(store: StoreIndex) -> None:
    file = store.folder / "statistics-00000.safetensors"
    file.write_bytes(b"x" * file.stat().st_size)
    with pytest.raises(DataError, match=r"statistics-00000\.safetensors is damaged; run `"):
        store.statistics("block")


def test_token_ids_that_are_damaged(store: StoreIndex) -> None:
    file = store.folder / "samples-00000.safetensors"
    tensors = load_file(file)
    save_file(tensors | {"offsets": tensors["offsets"] + 400}, file)
    assert StoreIndex.read(store.folder) == store
    with pytest.raises(DataError, match=r"samples-00000\.safetensors is missing or damaged; run `"):
        StoredSamples(store)[100]


@pytest.mark.parametrize("lost", ["mean_norm", "maximum"])
def test_statistics_without_a_number(lost: str, store: StoreIndex) -> None:
    content = json.loads((store.folder / "index.json").read_text())
    content["arrays"]["block"]["statistics"][lost] = None
    change(store, content)
    with pytest.raises(DataError, match=r"statistics-00000\.safetensors is damaged; run `"):
        StoreIndex.read(store.folder).statistics("block")


def test_statistics_of_another_array(store: StoreIndex) -> None:
    content = json.loads((store.folder / "index.json").read_text())
    content["arrays"]["block"]["width"] = 21
    change(store, content)
    with pytest.raises(DataError, match=r"statistics-00000\.safetensors is damaged; run `"):
        StoreIndex.read(store.folder).statistics("block")


@given(data=st.data())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_bytes_stand_in_for_a_file_no_other_error_comes_of_it(data: st.DataObject, store: StoreIndex) -> None:
    """Bytes that are exchanged, in the index or in the head of a shard or of token ids."""
    name = data.draw(st.sampled_from(["index.json", "rows-00001.safetensors", "samples-00000.safetensors"]))
    path = store.folder / name
    before = path.read_bytes()
    head = before[: 1200 if name != "index.json" else None]
    place = data.draw(st.integers(0, len(head) - 1))
    new = data.draw(st.binary(min_size=1, max_size=12) | st.sampled_from([b"[" * 300, b"null", b"-1", b"1e400"]))
    path.write_bytes((before[:place] + new + before[place + len(new) :])[: len(before)])
    with contextlib.suppress(DataError):
        index = StoreIndex.read(store.folder)
        StoredArray(index, index.array_named("block")).read(0, 500)
        index.statistics("block")
        assert len(StoredSamples(index)[100]) <= 501
    path.write_bytes(before)


def test_a_file_that_holds_other_bytes_is_found_by_looking_through_all(
    store: StoreIndex, write: Write, rows: Any, hashes: Callable[[Path], dict[str, str]]
) -> None:
    assert verify(store.folder) == store
    before = hashes(store.folder)
    shard = store.folder / "rows-00002.safetensors"
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    StoreIndex.read(store.folder)
    said = (
        f"rows-00002.safetensors in {store.folder} holds other bytes than were written (1 of 7 files); remove it and "
        f"run {COMMAND} again, which makes anew what is missing."
    )
    with pytest.raises(DataError, match=re.escape(said)):
        verify(store.folder)
    shard.unlink()
    write(store.folder, rows)
    assert verify(store.folder) == store
    assert hashes(store.folder) == before


def test_an_array_by_its_name(store: StoreIndex, write: Write, tmp_path: Path) -> None:
    assert store.array_named("head:input") == "head:input"
    with pytest.raises(DataError, match=r"holds no array blocks \(--data.layer\); did you mean block\?"):
        store.array_named("blocks")
    with pytest.raises(DataError, match=r"holds no array zzz \(--data.target\); there are block, head:input\."):
        store.array_named("zzz", "--data.target")
    with pytest.raises(DataError, match=r"holds 2 arrays; choose one with --data.layer: there are block, head:input\."):
        store.array_named(None)
    one = write(tmp_path / "one", {"block": torch.ones(3, 2)})
    assert one.array_named(None) == "block"
    with pytest.raises(DataError, match=r"holds no array zzz \(--data.layer\); there is block\."):
        one.array_named("zzz")


def test_the_fingerprint_follows_what_is_held(store: StoreIndex, write: Write, rows: Any, tmp_path: Path) -> None:
    assert write(tmp_path / "same", rows).fingerprint == store.fingerprint
    rows["block"][499, 19] += 1
    assert write(tmp_path / "other", rows).fingerprint != store.fingerprint


def test_sides_of_a_name_that_does_not_tell_them(tmp_path: Path) -> None:
    ids = torch.arange(2)
    with StoreWriter(tmp_path / "store", {}, {"block": 2}) as writer:
        writer.add({"block": torch.ones(2, 2)}, ids, ids)
        index = writer.finish(model={}, data={}, samples=2, sides={"block": ("block", "input")}, shape=[1, 2])
    assert (index.arrays["block"]["layer"], index.arrays["block"]["side"]) == ("block", "input")
    assert index.shape == (1, 2)


def test_a_store_that_was_moved_is_mended_where_it_is(tmp_path: Path) -> None:
    made = "ae-lightning harvest --model 'a b.py:net' --layers 2 -o stores/here --rows 9"
    moved = tmp_path / "moved here"
    assert command_in(made, moved) == f"`ae-lightning harvest --model 'a b.py:net' --layers 2 -o '{moved}' --rows 9`"
    assert command_in(made, Path("stores/here")) == f"`{made}`"
    assert command_in("harvest(model, ['2'])", moved) == "`harvest(model, ['2'])`"
