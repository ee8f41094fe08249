"""Rows in a uniformly random order that follows from the seed and their number alone."""

import itertools
import shutil
from collections import Counter, namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor

from ae_lightning.data.store import StoredArray, StoreIndex, StoreWriter, shuffle_store, verify
from ae_lightning.data.store import shuffle as module
from ae_lightning.errors import DataError

Write = Callable[..., StoreIndex]
Hashes = Callable[[Path], dict[str, str]]
Rows = dict[str, Tensor]


@pytest.fixture(autouse=True)
def _small_buckets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BUCKET_ROWS", 90)
    monkeypatch.setattr(module, "_DRAWN_AT_ONCE", 70)


def order_of(index: StoreIndex) -> list[int]:
    """Where each row was before: rows of the fixture `write` are three to a sample."""
    samples, positions = (StoredArray(index, name).read(0, index.rows) for name in ("sample", "position"))
    return (3 * samples + positions).tolist()


def test_each_row_is_there_once_with_all_that_belongs_to_it(store: StoreIndex, rows: Rows) -> None:
    before = {name: store.statistics(name) for name in store.arrays}
    index = shuffle_store(store.folder, 3)
    assert (index.shuffled, index.rows, index.mask) == ({"seed": 3}, 500, store.mask)
    order = order_of(index)
    assert sorted(order) == list(range(500))
    for name, x in rows.items():
        assert torch.equal(StoredArray(index, name).read(0, 500), x[order])
        assert torch.equal(index.statistics(name).mean, before[name].mean)
    assert StoredArray(index, "y").read(0, 500).tolist() == [row // 3 % 5 for row in order]
    assert verify(store.folder) == index
    assert {path.name for path in store.folder.iterdir()} == {"index.json", "harvest.json", *index.files}


def test_the_order_follows_from_the_seed_and_the_number_of_rows_alone(
    store: StoreIndex, write: Write, rows: Rows, tmp_path: Path
) -> None:
    order = order_of(shuffle_store(store.folder, 3))
    other = write(tmp_path / "other", {"a": rows["block"][:, :2]}, "bfloat16", shard_rows=41, batch=100)
    assert order_of(shuffle_store(other.folder, 3)) == order
    third = write(tmp_path / "third", rows)
    assert order_of(shuffle_store(third.folder, 4)) != order


def test_every_order_is_as_likely_as_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three rows in two buckets: their six orders."""
    monkeypatch.setattr(module, "_BUCKET_ROWS", 2)
    ids, found = torch.arange(3), Counter[tuple[int, ...]]()
    with StoreWriter(tmp_path / "store", {}, {"a": 1}, shard_rows=2) as writer:
        writer.add({"a": torch.ones(3, 1)}, ids, ids)
        index = writer.finish(model={}, data={}, samples=3)
    for seed in range(90):
        shuffled = shutil.copytree(index.folder, tmp_path / f"copy_{seed}")
        found[tuple(StoredArray(shuffle_store(shuffled, seed), "sample").read(0, 3).tolist())] += 1
    assert chisquare([found[order] for order in itertools.permutations(range(3))]).pvalue > 0.01


def test_neighbors_are_of_one_sample_as_often_as_any_two_rows(write: Write, tmp_path: Path) -> None:
    rows, length = 6000, 3
    index = shuffle_store(write(tmp_path / "store", {"a": torch.ones(rows, 1)}, shard_rows=500, batch=999).folder, 0)
    samples = StoredArray(index, "sample").read(0, rows).view(-1, 100)  # batches
    pairs = int((samples.unsqueeze(1) == samples.unsqueeze(2)).sum() - samples.numel()) / 2
    count, chance = rows * 99 / 2, (length - 1) / (rows - 1)
    assert abs(pairs - count * chance) < 3 * (count * chance) ** 0.5


def test_it_is_done_once(store: StoreIndex, write: Write, rows: Rows) -> None:
    index = shuffle_store(store.folder, 3)
    times = {path: path.stat().st_mtime_ns for path in store.folder.iterdir()}
    assert shuffle_store(store.folder, 3) == index
    assert write(store.folder, rows) == index  # the harvest has nothing left to do
    assert {path: path.stat().st_mtime_ns for path in store.folder.iterdir()} == times
    with pytest.raises(DataError, match=r"is shuffled already, from the seed 3; leave it as it is, or harvest"):
        shuffle_store(store.folder, 4)


def test_a_shuffled_shard_that_is_lost_is_harvested_and_shuffled_again(
    store: StoreIndex, write: Write, rows: Rows, hashes: Hashes
) -> None:
    shuffle_store(store.folder, 3)
    before = hashes(store.folder)
    (store.folder / "shuffled-00001.safetensors").unlink()
    with pytest.raises(DataError, match=r"shuffled-00001.safetensors is missing; run `.*` again"):
        StoreIndex.read(store.folder)
    write(store.folder, rows)
    shuffle_store(store.folder, 3)
    assert hashes(store.folder) == before


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("step", [17, pytest.param(1, marks=pytest.mark.slow)])
def test_a_shuffle_that_is_killed_at_any_moment_ends_with_the_same_bytes(
    step: int,
    store: StoreIndex,
    hashes: Hashes,
    killed_at: Callable[[int, Callable[[], object], Path], bool],
    tmp_path: Path,
) -> None:
    whole = shuffle_store(shutil.copytree(store.folder, tmp_path / "whole"), 3).folder
    moment, killed = 1, True
    while killed:
        folder = shutil.copytree(store.folder, tmp_path / f"killed_{moment}")
        killed = killed_at(moment, lambda: shuffle_store(folder, 3), folder)  # noqa: B023
        index = StoreIndex.read(folder)  # it can be read meanwhile
        assert sorted(order_of(index)) == list(range(500))
        shuffle_store(folder, 3)
        assert hashes(folder) == hashes(whole), moment
        shutil.rmtree(folder)
        moment += step
    assert moment > 80


def test_another_seed_begins_anew(
    store: StoreIndex, hashes: Hashes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks_off(*_: object) -> None:
        raise KeyboardInterrupt

    whole = shuffle_store(shutil.copytree(store.folder, tmp_path / "whole"), 4).folder
    with monkeypatch.context() as broken:
        broken.setattr(module, "_adopt", breaks_off)
        with pytest.raises(KeyboardInterrupt):
            shuffle_store(store.folder, 3)
    assert list(store.folder.glob("shuffling-3-*"))
    shuffle_store(store.folder, 4)
    assert hashes(store.folder) == hashes(whole)


def test_shards_that_are_half_moved_are_moved_on(
    store: StoreIndex, hashes: Hashes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def breaks_off(*_: object) -> None:
        raise KeyboardInterrupt

    whole = shuffle_store(shutil.copytree(store.folder, tmp_path / "whole"), 3).folder
    with monkeypatch.context() as broken:
        broken.setattr(module, "write_json", breaks_off)
        with pytest.raises(KeyboardInterrupt):
            shuffle_store(store.folder, 3)
    assert len(list(store.folder.glob("shuffled-*"))) == 4
    assert StoreIndex.read(store.folder) == store
    assert shuffle_store(store.folder, 3).shuffled == {"seed": 3}
    assert hashes(store.folder) == hashes(whole)


def test_a_disk_without_room_is_told_before(store: StoreIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", ["total", "used", "free"])
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage(1, 1, 1000))
    with pytest.raises(DataError, match=r"takes 0.0 GiB beside it for a while, and 0.0 GiB are free; make room"):
        shuffle_store(store.folder, 3)
    assert not list(store.folder.glob("shuffling-*"))


def test_a_disk_that_fills_up_is_told(store: StoreIndex, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(path: Path, tensors: Rows) -> None:
        raise OSError(28, "No space left on device", str(path))

    monkeypatch.setattr(module, "write_tensors", fails)
    with pytest.raises(
        DataError, match=r"rows-00000.safetensors: no space left on device; the store is as it was, and `"
    ):
        shuffle_store(store.folder, 3)
    assert StoreIndex.read(store.folder) == store


def test_progress_counts_both_passes(store: StoreIndex) -> None:
    told: list[tuple[int, int]] = []
    shuffle_store(store.folder, 3, progress=lambda done, of: told.append((done, of)))
    assert told == sorted(told)
    assert told[-1] == (1000, 1000)
    assert {of for _, of in told} == {1000}
