"""What is written is what was given, in shards that follow from row numbers, however the rows came."""

import json
import resource
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from ae_lightning.data.store import StoredArray, StoredSamples, StoreIndex, StoreWriter, verify
from ae_lightning.data.store import shards as pool
from ae_lightning.errors import DataError

Write = Callable[..., StoreIndex]
Hashes = Callable[[Path], dict[str, str]]
Rows = dict[str, Tensor]


def test_a_shard_is_a_file_that_safetensors_reads(write: Write, rows: Rows, tmp_path: Path) -> None:
    index = write(tmp_path / "store", rows, "bfloat16")
    assert [shard.rows for shard in index.shards] == [128, 128, 128, 116]
    assert [shard.first_row for shard in index.shards] == [0, 128, 256, 384]
    third = load_file(tmp_path / "store" / "rows-00002.safetensors")
    assert third.keys() == {"block", "head:input", "sample", "position", "y"}
    for name, x in rows.items():
        assert torch.equal(third[name], x[256:384].bfloat16())
    assert third["sample"].tolist() == [row // 3 for row in range(256, 384)]
    assert third["position"].tolist() == [row % 3 for row in range(256, 384)]
    assert third["y"].tolist() == [row // 3 % 5 for row in range(256, 384)]
    assert third["position"].dtype == torch.int32


def test_an_index_says_what_there_is(store: StoreIndex) -> None:
    content = json.loads((store.folder / "index.json").read_text())
    assert content["schema"] == 1
    assert (store.rows, store.samples, store.num_classes, store.shuffled) == (500, 167, 5, None)
    assert list(store.arrays) == ["block", "head:input"]
    assert [(kind["layer"], kind["side"]) for kind in store.arrays.values()] == [("block", "output"), ("head", "input")]
    assert (store.width("head:input"), store.dtype("head:input")) == (7, torch.float32)
    assert store.mask["dropped"] == {"padding": 28, "special": 14}
    assert {path.name for path in store.folder.iterdir()} == {"index.json", "harvest.json", *store.files}


@pytest.mark.parametrize("batch", [1, 128, 500])
def test_shards_follow_from_the_rows_and_not_from_batches(
    batch: int, store: StoreIndex, write: Write, rows: Rows, hashes: Hashes, tmp_path: Path
) -> None:
    write(tmp_path / "other", rows, batch=batch)
    wanted, found = hashes(store.folder), hashes(tmp_path / "other")
    names = {name for name in wanted if name.startswith(("statistics", "samples", "harvest"))}
    assert {name: found[name] for name in names} == {name: wanted[name] for name in names}
    for number in range(4):
        one, other = (
            load_file(folder / f"rows-{number:05}.safetensors") for folder in (store.folder, tmp_path / "other")
        )
        assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("stop", [1, 200, 260, 400, 480])
@pytest.mark.parametrize("skipping", [False, True])
def test_a_harvest_that_was_interrupted_ends_with_the_same_bytes(
    stop: int, skipping: bool, store: StoreIndex, write: Write, rows: Rows, hashes: Hashes, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    with pytest.raises(KeyboardInterrupt):
        write(broken, rows, stop=stop)
    assert not (broken / "index.json").exists()
    whole = len(list(broken.glob("rows-*.safetensors")))
    with StoreWriter(
        *(broken, {"layers": list(rows), "text": "abc"}, {"block": 20, "head:input": 7}, "float32", 128),
        extras=("sample", "position", "y"),
    ) as writer:
        assert not writer.wanted(128 * whole)
        assert writer.wanted(1, row=128 * whole)
    write(broken, rows, skipping=skipping)
    assert hashes(broken) == hashes(store.folder)


def test_statistics_of_earlier_shards_are_taken_from_the_record_and_not_read_again(
    store: StoreIndex, write: Write, rows: Rows, hashes: Hashes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken, read = tmp_path / "broken", []
    with pytest.raises(KeyboardInterrupt):
        write(broken, rows, stop=400)
    monkeypatch.setattr(pool, "read_tensors", lambda path: read.append(path) or load_file(path))
    write(broken, rows)
    assert not read
    assert hashes(broken) == hashes(store.folder)


def test_ctrl_c_while_a_shard_is_merged_spoils_no_record(
    write: Write, rows: Rows, hashes: Hashes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second array's statistics lack the third shard when the signal comes."""
    write(tmp_path / "whole", rows)
    merges = 0
    merge = pool.RowSums.merge

    def interrupted(sums: Any, other: Any) -> None:
        nonlocal merges
        merges += 1
        if merges == 6:
            raise KeyboardInterrupt
        merge(sums, other)

    with monkeypatch.context() as patch:
        patch.setattr(pool.RowSums, "merge", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write(tmp_path / "store", rows)
    write(tmp_path / "store", rows)
    assert hashes(tmp_path / "store") == hashes(tmp_path / "whole")


def test_what_comes_from_the_cpu_is_measured_by_the_thread_that_gives_it(
    write: Write, rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another thread that computes would slow down the network."""
    measuring: list[threading.Thread] = []
    add = pool.RowSums.add
    monkeypatch.setattr(
        pool.RowSums, "add", lambda sums, part: (measuring.append(threading.current_thread()), add(sums, part))
    )
    store = write(tmp_path / "store", rows)
    assert len(measuring) == len(rows) * len(store.shards)
    assert set(measuring) == {threading.current_thread()}


def test_measures_are_the_same_by_whichever_thread(write: Write, rows: Rows, tmp_path: Path) -> None:
    index = write(tmp_path / "store", rows)
    kinds = {name: (x.shape[1], True) for name, x in rows.items()}
    extras = {
        "sample": torch.arange(len(rows["block"])),
        "position": torch.zeros(len(rows["block"]), dtype=torch.int64),
    }
    found = []
    for here in (True, False):
        folder = tmp_path / str(here)
        folder.mkdir()
        writing = pool.ShardPool(folder, kinds, ())
        for number, start in enumerate(range(0, index.rows, index.shard_rows)):
            parts = {name: part[start : start + index.shard_rows] for name, part in {**rows, **extras}.items()}
            writing.write(number, parts, {"padding": number}, measure_here=here)
        writing.finish()
        found.append(writing)
    by_caller, by_writer = found
    assert by_caller.entries == by_writer.entries
    assert by_caller.dropped == by_writer.dropped == {"padding": 6}
    for name, sums in by_caller.sums.items():
        for key, part in sums.tensors().items():
            assert torch.equal(part, by_writer.sums[name].tensors()[key])
            assert torch.allclose(sums.moments.mean, rows[name].double().mean(0), rtol=1e-12)


@pytest.mark.parametrize("damage", [b"", b"damaged", None])
def test_a_record_that_is_damaged_or_gone_costs_only_reading(
    damage: bytes | None, store: StoreIndex, write: Write, rows: Rows, hashes: Hashes, tmp_path: Path
) -> None:
    broken = tmp_path / "broken"
    with pytest.raises(KeyboardInterrupt):
        write(broken, rows, stop=400)
    record = broken / "merged.safetensors"
    record.unlink()
    if damage is not None:
        record.write_bytes(damage)
    write(broken, rows)
    assert hashes(broken) == hashes(store.folder)


@pytest.mark.parametrize("size", [None, 1000])
def test_a_record_does_not_speak_for_shards_that_were_lost(
    size: int | None, write: Write, rows: Rows, tmp_path: Path
) -> None:
    """A model on another machine may give other last digits."""
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "store", rows, stop=400)
    lost = tmp_path / "store" / "rows-00001.safetensors"
    content = lost.read_bytes()
    lost.unlink()
    if size is not None:
        lost.write_bytes(content[:size])
    index = write(tmp_path / "store", {name: x * (1 + 1e-6) for name, x in rows.items()}, skipping=True)
    assert verify(index.folder) == index
    stored = StoredArray(index, "block").read(0, 500).double()
    np.testing.assert_allclose(index.statistics("block").mean.numpy(), stored.mean(0).numpy(), rtol=1e-12)


def test_a_shard_that_was_removed_or_cut_short_is_all_that_is_made_anew(
    store: StoreIndex, write: Write, rows: Rows, hashes: Hashes
) -> None:
    before, times = hashes(store.folder), {path: path.stat().st_mtime_ns for path in store.folder.glob("rows-*")}
    first, _, third, fourth = sorted(times)
    first.unlink()
    third.write_bytes(third.read_bytes()[:-1])
    write(store.folder, rows, skipping=True)
    assert hashes(store.folder) == before
    assert {path for path in times if path.stat().st_mtime_ns != times[path]} == {first, third}
    fourth.unlink()  # the last, which is short
    write(store.folder, rows, skipping=True)
    assert hashes(store.folder) == before


def test_a_shard_of_fewer_rows_is_made_anew_unless_it_is_the_last(
    store: StoreIndex, write: Write, rows: Rows, hashes: Hashes
) -> None:
    before = hashes(store.folder)
    fewer = {name: tensor[:5].clone() for name, tensor in load_file(store.folder / "rows-00001.safetensors").items()}
    save_file(fewer, store.folder / "rows-00001.safetensors", {"dropped": "{}"})
    write(store.folder, rows, skipping=True)
    assert hashes(store.folder) == before


def test_a_record_that_a_kill_left_beside_a_whole_store_goes(store: StoreIndex, write: Write, rows: Rows) -> None:
    (store.folder / "merged.safetensors").touch()
    assert write(store.folder, rows) == store
    assert not (store.folder / "merged.safetensors").exists()


def test_a_whole_store_is_left_alone(store: StoreIndex, write: Write, rows: Rows) -> None:
    times = {path: path.stat().st_mtime_ns for path in store.folder.iterdir()}
    assert write(store.folder, {name: x + 1 for name, x in rows.items()}) == store
    assert {path: path.stat().st_mtime_ns for path in store.folder.iterdir()} == times


def test_rows_that_were_dropped_beside_none_are_counted_too(tmp_path: Path) -> None:
    """A batch of padding alone: before the first row, at a border of shards, and behind the last row."""
    x, none = torch.ones(8, 2), torch.empty(0, 2)

    def harvest(stop: int | None) -> StoreIndex:
        with StoreWriter(tmp_path / "store", {}, {"a": 2}, shard_rows=4) as writer:
            for number, part in enumerate([none, x[:4], none, x[4:8], none]):
                if number == stop:
                    raise KeyboardInterrupt
                ids = torch.arange(len(part))
                writer.add({"a": part}, ids, ids, dropped={"padding": 10**number})
            return writer.finish(model={}, data={}, samples=4)

    for stop in (1, 3, 4):
        with pytest.raises(KeyboardInterrupt):
            harvest(stop)
    assert harvest(None).mask["dropped"] == {"padding": 11111}


def test_token_ids_are_kept_by_sample(
    write: Write, rows: Rows, hashes: Hashes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ae_lightning.data.store.samples.SAMPLES", 50)
    index = write(tmp_path / "store", rows)
    assert [file.samples for file in index.sample_files] == [50, 50, 50, 17]
    samples = StoredSamples(index)
    assert len(samples) == 167
    for number in (0, 49, 50, 166):
        assert samples[number].tolist() == [3 * number, 3 * number + 1, 3 * number + 2]
    with pytest.raises(IndexError, match="sample 167 of 167"):
        samples[167]
    with pytest.raises(KeyboardInterrupt):
        write(tmp_path / "broken", rows, stop=200)
    write(tmp_path / "broken", rows)
    assert hashes(tmp_path / "broken") == hashes(index.folder)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dtype": "float16"}, 'whose dtype is "float32", and not "float16"'),
        ({"arrays": {"block": 2, "other": 2}}, 'whose arrays is ["block"], and not ["block", "other"]'),
        ({"shard_rows": 64}, "whose shard_rows is 128, and not 64"),
        ({"extras": ("sample", "position")}, "whose extras is"),
        ({"covariance": False}, "whose covariance.block is true, and not false"),
        ({"settings": {"text": "xyz"}}, 'whose text is "abc", and not "xyz"'),
    ],
)
def test_a_folder_of_another_harvest_is_refused(change: dict[str, Any], words: str, tmp_path: Path) -> None:
    asked = {"settings": {"text": "abc"}, "arrays": {"block": 2}, "dtype": "float32", "shard_rows": 128}
    asked["extras"] = ("sample", "position", "y")
    with StoreWriter(tmp_path / "store", **asked):
        pass
    with pytest.raises(
        DataError, match=r"store holds a harvest .*; name another folder, or remove this one\."
    ) as caught:
        StoreWriter(tmp_path / "store", **(asked | change)).__enter__()
    assert words in str(caught.value)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").touch()
    with pytest.raises(
        DataError, match=r"is not empty and holds no store; name a folder that is empty, or not there\."
    ):
        StoreWriter(tmp_path, {}, {"a": 2}).__enter__()
    with pytest.raises(DataError, match=r"thesis.tex is a file; name a folder"):
        StoreWriter(tmp_path / "thesis.tex", {}, {"a": 2}).__enter__()
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_two_do_not_write_into_one_store(tmp_path: Path) -> None:
    second = StoreWriter(tmp_path / "store", {}, {"a": 2})
    said = r"Another process is writing into .*store; wait for it"
    with StoreWriter(tmp_path / "store", {}, {"a": 2}), pytest.raises(DataError, match=said):
        second.__enter__()
    with StoreWriter(tmp_path / "store", {}, {"a": 2}):
        pass


@pytest.mark.parametrize(
    ("dtype", "value", "words"),
    [
        (
            "float16",
            65536.0,
            "hold 65536 in row 5 of a, beyond what float16 holds (up to 65,504); harvest into another",
        ),
        ("bfloat16", 3.4e38, "hold 3.4e+38 in row 5 of a, beyond what bfloat16 holds"),
        ("float16", float("nan"), "hold nan in row 5 of a; leave out the samples"),
        ("float32", float("-inf"), "hold -inf in row 5 of a; leave out the samples"),
    ],
)
def test_what_a_type_cannot_hold_is_told_at_once(dtype: str, value: float, words: str, tmp_path: Path) -> None:
    x = torch.ones(8, 3)
    x[5, 1] = value
    with StoreWriter(tmp_path / "store", {}, {"a": 3}, dtype, shard_rows=100) as writer:
        writer.add({"a": x[:4]}, torch.arange(4), torch.arange(4))
        with pytest.raises(DataError) as caught:
            writer.add({"a": x[4:]}, torch.arange(4), torch.arange(4))
    assert words in str(caught.value)


def test_rows_may_come_in_inference_mode_and_without_and_with_a_gradient(tmp_path: Path) -> None:
    x, ids = torch.arange(24.0).view(12, 2), torch.arange(4)
    with torch.inference_mode(), StoreWriter(tmp_path / "store", {}, {"a": 2}, shard_rows=6) as writer:
        writer.add({"a": x[:4] * 1}, ids, ids)
        with torch.inference_mode(False):
            writer.add({"a": x[4:8].clone().requires_grad_()}, ids, ids)
        writer.add({"a": x[8:] * 1}, ids, ids)
        index = writer.finish(model={}, data={}, samples=4)
    stored = StoredArray(index, "a").read(0, 12)
    assert torch.equal(stored, x)
    assert not stored.requires_grad
    assert index.statistics("a").mean.tolist() == [11, 12]


def test_what_is_no_row_of_the_store_is_refused(tmp_path: Path) -> None:
    ids = torch.arange(4)
    with StoreWriter(tmp_path / "store", {}, {"a": 3}) as writer:
        for arrays, y in (
            ({"a": torch.ones(4, 2)}, None),
            ({"b": torch.ones(4, 3)}, None),
            ({"a": torch.ones(4, 3)}, ids),
        ):
            with pytest.raises(ValueError, match="are none of a store of"):
                writer.add(arrays, ids, ids, y)
        assert writer.wanted(4)
        assert writer.wanted(1, row=100)
        assert not writer.wanted(0)
        with pytest.raises(ValueError, match="of the rows 0 to 4 some are not in"):
            writer.skip(4)
        with pytest.raises(DataError, match="gave no rows"):
            writer.finish(model={}, data={}, samples=0)


def test_a_harvest_that_gives_other_rows_than_before_is_told(store: StoreIndex, write: Write, rows: Rows) -> None:
    (store.folder / "index.json").unlink()
    with pytest.raises(DataError, match="gave 450 rows, and there are 500 of an earlier one"):
        write(store.folder, {name: x[:450] for name, x in rows.items()})


@pytest.fixture
def fill_the_disk() -> Iterator[Callable[[int], None]]:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, limits[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@pytest.mark.parametrize("workers", [1, 4])
def test_a_full_disk_is_told_and_what_is_whole_is_kept(
    workers: int,
    store: StoreIndex,
    write: Write,
    rows: Rows,
    hashes: Hashes,
    fill_the_disk: Callable[[int], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, pieces = tmp_path / "full", pool.pieces
    monkeypatch.setattr(pool, "_WORKERS", workers)

    def finds_no_room(tensors: Rows, metadata: dict[str, str]) -> Any:
        if int(tensors["sample"][0]) == 256 // 3:
            fill_the_disk(1000)
        return pieces(tensors, metadata)

    monkeypatch.setattr(pool, "pieces", finds_no_room)
    with pytest.raises(DataError) as caught:
        write(folder, rows)
    fill_the_disk(resource.RLIM_INFINITY)
    monkeypatch.undo()
    said = str(caught.value)
    assert ": file too large; " in said
    assert f"whole shards are kept, and `ae-lightning harvest --model net:Net -o {folder}` goes on from there." in said
    if workers == 1:  # more fail together
        assert sorted(path.name for path in folder.glob("rows-*")) == [
            "rows-00000.safetensors",
            "rows-00001.safetensors",
        ]
    assert not list(folder.glob(".*"))
    write(folder, rows)
    assert hashes(folder) == hashes(store.folder)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize(
    ("step", "record_every"),
    [(7, 0.0), pytest.param(1, 0.0, marks=pytest.mark.slow), pytest.param(1, 30.0, marks=pytest.mark.slow)],
)
def test_a_harvest_that_is_killed_at_any_moment_ends_with_the_same_bytes(
    step: int,
    record_every: float,
    store: StoreIndex,
    write: Write,
    rows: Rows,
    hashes: Hashes,
    killed_at: Callable[[int, Callable[[], object], Path], bool],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pool, "_RECORD_EVERY", record_every)
    moment, killed = 1, True
    while killed:
        folder = tmp_path / f"killed_{moment}"
        killed = killed_at(moment, lambda: write(folder, rows), folder)  # noqa: B023
        write(folder, rows, skipping=True)
        assert hashes(folder) == hashes(store.folder), moment
        moment += step
    assert moment > 20  # how many events there are depends on which of two threads is first


def test_rows_are_read_as_they_were_written(store: StoreIndex, rows: Rows) -> None:
    for name, x in rows.items():
        assert torch.equal(StoredArray(store, name).read(0, 500), x)
