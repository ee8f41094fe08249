"""Rows read from disk beside the same rows in memory."""

import os
import pickle
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from ae_lightning.data import InMemoryDataset
from ae_lightning.data.statistics import scan
from ae_lightning.data.store import StoredArray, StoreIndex
from ae_lightning.errors import DataError

Write = Callable[..., StoreIndex]
Rows = dict[str, Tensor]


@pytest.fixture(scope="module")
def wide(tmp_path_factory: pytest.TempPathFactory) -> tuple[StoreIndex, Tensor]:
    """Rows of 6,000 bytes, of which three lie between two that are read together."""
    from ae_lightning.data.store import StoreWriter

    x = torch.randn(100, 1500, generator=torch.Generator().manual_seed(0))
    ids = torch.arange(100)
    with StoreWriter(tmp_path_factory.mktemp("wide") / "store", {}, {"a": 1500}, shard_rows=16) as writer:
        writer.add({"a": x}, ids, ids)
        return writer.finish(model={}, data={}, samples=100), x


@given(wanted=st.lists(st.integers(0, 99), max_size=150))
def test_rows_come_in_the_order_in_which_they_are_asked_for(wide: tuple[StoreIndex, Tensor], wanted: list[int]) -> None:
    index, x = wide
    found = StoredArray(index, "a")[torch.tensor(wanted, dtype=torch.int64)]
    assert torch.equal(found, x[wanted])


@given(bounds=st.tuples(st.integers(0, 100), st.integers(0, 100)).map(sorted))
def test_contiguous_rows_are_read_over_the_borders_of_shards(
    wide: tuple[StoreIndex, Tensor], bounds: list[int]
) -> None:
    index, x = wide
    array = StoredArray(index, "a")
    assert (len(array), array.shape) == (100, (100, 1500))
    assert torch.equal(array.read(*bounds), x[slice(*bounds)])


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="systems without it read ahead by themselves")
def test_the_system_is_told_of_the_bytes_of_the_rows(
    wide: tuple[StoreIndex, Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    index, x = wide
    found = []

    def told(file: int, offset: int, size: int, advice: int) -> None:
        assert advice == os.POSIX_FADV_WILLNEED
        found.append(os.pread(file, size, offset))

    monkeypatch.setattr(os, "posix_fadvise", told)
    StoredArray(index, "a").expect(10, 40)
    assert [len(part) // 6000 for part in found] == [6, 16, 8]
    assert b"".join(found) == x[10:40].numpy().tobytes()
    shard, away = index.folder / "rows-00006.safetensors", index.folder / "away"
    shard.rename(away)
    with pytest.raises(DataError, match=r"rows-00006\.safetensors is missing; "):
        StoredArray(index, "a").expect(96, 100)
    away.rename(shard)


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_every_type_is_read_into_memory_that_is_there(dtype: str, write: Write, rows: Rows, tmp_path: Path) -> None:
    array = StoredArray(write(tmp_path / "store", rows, dtype), "block")
    assert array.dtype == getattr(torch, dtype)
    out = torch.zeros(300, 20, dtype=array.dtype)
    assert array.read(100, 400, out) is out
    assert torch.equal(out, rows["block"][100:400].to(array.dtype))
    assert torch.equal(array[np.array([499, 0])], rows["block"][[499, 0]].to(array.dtype))
    for bad in (torch.zeros(299, 20, dtype=array.dtype), torch.zeros(300, 20, dtype=torch.float64), out.T):
        with pytest.raises(ValueError, match="cannot take rows of"):
            array.read(100, 400, bad)


def test_samples_positions_and_classes_are_rows_of_one_number(store: StoreIndex) -> None:
    number = torch.arange(500)
    for name, truth in (("sample", number // 3), ("position", (number % 3).int()), ("y", number // 3 % 5)):
        array = StoredArray(store, name)
        assert (array.shape, array.dtype) == ((500,), truth.dtype)
        assert torch.equal(array[torch.tensor([400, 3, 3])], truth[[400, 3, 3]])
        assert torch.equal(array.read(0, 500), truth)


def test_what_is_not_there(store: StoreIndex) -> None:
    array = StoredArray(store, "block")
    with pytest.raises(IndexError, match="rows 3 to 500 of an array of 500"):
        array[torch.tensor([3, 500])]
    with pytest.raises(IndexError, match="rows -1 to -1 of an array of 500"):
        array[torch.tensor([-1])]
    with pytest.raises(IndexError, match="rows 5 to 501 of an array of 500"):
        array.read(5, 501)
    with pytest.raises(ValueError, match="there is no array blocks"):
        StoredArray(store, "blocks")


def test_it_takes_the_place_of_a_tensor(store: StoreIndex, rows: Rows) -> None:
    chosen, labels = torch.tensor([400, 3, 250]), torch.arange(500)
    how = {"indices": chosen, "scale": 2.0, "shift": -1.0}
    lazy = InMemoryDataset(StoredArray(store, "block"), labels, **how)
    held = InMemoryDataset(rows["block"], labels, **how)
    assert lazy.device == torch.device("cpu")
    assert lazy.fingerprint() == held.fingerprint()
    assert torch.equal(lazy[1][0], held[1][0])
    for one, other in zip(lazy.batches(2), held.batches(2), strict=True):
        assert torch.equal(one[0], other[0])
        assert torch.equal(one[1], other[1])
    assert torch.equal(lazy.to("cpu").x, rows["block"][chosen])
    drawn = [one.subset(None).drawn(5, torch.Generator().manual_seed(0)).take(5)[0] for one in (lazy, held)]
    assert torch.equal(*drawn)
    found, truth = (scan(one, "a file") for one in (lazy, held))
    assert found[:4] == truth[:4]


def test_threads_read_at_once_and_a_copy_reads_in_another_process(store: StoreIndex, rows: Rows) -> None:
    array = pickle.loads(pickle.dumps(StoredArray(store, "block")))
    failures: list[int] = []

    def read(seed: int) -> None:
        random = torch.Generator().manual_seed(seed)
        for _ in range(50):
            wanted = torch.randint(500, (40,), generator=random)
            if not torch.equal(array[wanted], rows["block"][wanted]):
                failures.append(seed)

    threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_no_file_is_kept_open(store: StoreIndex) -> None:
    before = sorted(os.listdir("/proc/self/fd"))
    arrays = [StoredArray(store, "block") for _ in range(20)]
    for array in arrays:
        array[torch.arange(0, 500, 7)]
    assert sorted(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("known", [False, True])
def test_a_shard_that_is_cut_short_while_it_is_used(store: StoreIndex, known: bool) -> None:
    array, shard = StoredArray(store, "block"), store.folder / "rows-00002.safetensors"
    if known:
        array.read(0, 500)
    shard.write_bytes(shard.read_bytes()[:3000])
    said = rf"rows-00002\.safetensors .*3,000 bytes.*; run `{store.command}` again, which makes anew"
    for read in (lambda: array.read(0, 500), lambda: array[torch.tensor([380])]):
        with pytest.raises(DataError, match=said):
            read()
    assert array.read(0, 256).shape == (256, 20)
    shard.unlink()
    with pytest.raises(DataError, match=r"rows-00002\.safetensors is missing; run"):
        array.read(0, 500)
