import gc
import itertools
import threading
import time

import numpy as np
import pytest
import torch
from torch import Tensor

from ae_lightning.data import InMemoryDataset
from ae_lightning.data.row_arrays import JoinedRows, RowsSideBySide, SelectedRows
from ae_lightning.data.selection import Selection
from ae_lightning.data.window_loader import WindowLoader
from ae_lightning.data.windowed_rows import WindowedRows
from ae_lightning.errors import ConfigError, DataError

ROWS, WINDOW = 10_000, 4096
MASK = np.arange(ROWS) % 9 != 4
KEPT = torch.from_numpy(np.flatnonzero(MASK))
# Each row says its number, and something else that tells its columns apart.
X = torch.stack([torch.arange(ROWS), -torch.arange(ROWS), torch.arange(ROWS) % 7], dim=1).to(torch.float32)
Y = torch.arange(ROWS) // 3
TARGET = X[:, :2].to(torch.float64) * 2


class Counted(JoinedRows):
    """Counts the rows that are read in order, and fails at one of them."""

    def __init__(self, arrays: list[Tensor], bad: int | None = None) -> None:
        super().__init__(arrays)
        self.bad = bad
        self.count = 0
        self.heard: list[tuple[str, int, int]] = []

    def expect(self, start: int, stop: int) -> None:
        self.heard.append(("expect", start, stop))

    def read(self, start: int, stop: int, out: Tensor | None = None) -> Tensor:
        self.count += stop - start
        self.heard.append(("read", start, stop))
        if self.bad is not None and start <= self.bad < stop:
            raise DataError("shard 3 is cut short; make it again.")
        return super().read(start, stop, out)


def loader(whole: bool, batch_size: int = 300, x: JoinedRows | None = None, **options) -> WindowLoader:
    """Rows with labels and targets, of two arrays side by side, the samples halved and the targets less 1."""
    sources = [x or JoinedRows([X[:3333, :2], X[3333:, :2].numpy()]), JoinedRows([X[:, 2:]])]
    y, target = JoinedRows([Y]), JoinedRows([TARGET])
    memory = 2**20 if whole else 320_000
    rows = WindowedRows(
        Selection([MASK]), sources, y, target, memory=memory, window=options.pop("window", WINDOW), fingerprint=7
    )
    assert rows.is_whole is whole
    selection = rows.selection
    targets = InMemoryDataset(TARGET[KEPT] if whole else SelectedRows(target, selection), shift=-1.0)
    samples = X[KEPT] if whole else SelectedRows(RowsSideBySide(sources), selection)
    return WindowLoader(rows, InMemoryDataset(samples, Y[KEPT], scale=0.5, target=targets), batch_size, **options)


def assert_same(found: list, expected: list) -> None:
    assert len(found) == len(expected)
    for ours, theirs in zip(found, expected, strict=True):
        assert all(map(torch.equal, ours, theirs))


@pytest.fixture(scope="module")
def batches() -> list[list]:
    """All batches of two epochs, from rows that are whole in memory."""
    whole = loader(whole=True)
    found = [list(whole)]
    whole.sampler.set_epoch(1)
    return [*found, list(whole)]


def test_each_row_comes_once_an_epoch_with_its_label_and_target(batches):
    for epoch in batches:
        x, y, target = (torch.cat(parts) for parts in zip(*epoch, strict=True))
        rows = (x[:, 0] * 2).long()
        assert torch.equal(rows.sort().values, KEPT)
        assert torch.equal(x, X[rows] / 2)
        assert torch.equal(y, Y[rows])
        assert torch.equal(target, (TARGET[rows] - 1).float())
    assert not torch.equal(batches[0][0][0], batches[1][0][0])
    assert [len(x) for x, _, _ in batches[0]] == [300] * 29 + [len(KEPT) - 29 * 300]


def test_windows_give_the_same_batches_as_rows_in_memory(batches):
    read = loader(whole=False)
    assert_same(list(read), batches[0])
    read.sampler.set_epoch(1)
    assert_same(list(read), batches[1])
    assert_same(list(loader(whole=False, fixed=True)), batches[0])


def test_a_batch_may_be_longer_than_a_window():
    kinds = [list(loader(whole, batch_size=500, window=64)) for whole in (True, False)]
    assert_same(kinds[1], kinds[0])
    assert torch.equal(torch.cat([x[:, 0] * 2 for x, _, _ in kinds[1]]).long().sort().values, KEPT)


@pytest.mark.parametrize("first", [0, 1, 13, 14, 28, 29])
@pytest.mark.parametrize("whole", [True, False])
def test_resumes_at_any_batch(batches, whole, first):
    stopped = loader(whole)
    list(itertools.islice(stopped, first))
    again = loader(whole)
    again.load_state_dict(stopped.state_dict())
    assert_same(list(again), batches[0][first:])
    again.sampler.set_epoch(1)
    assert_same(list(again), batches[1])


@pytest.mark.parametrize("whole", [True, False])
def test_several_processes_share_the_batches_of_one_and_go_on_with_its_state(batches, whole):
    def by_processes(world_size: int, state: dict[str, int] | None = None) -> list[list[Tensor]]:
        ranks = []
        for rank in range(world_size):
            one = loader(whole, 300 // world_size, rank=rank, world_size=world_size)
            if state is not None:
                one.load_state_dict(state)
            ranks.append(list(one))
        return [list(map(torch.cat, zip(*parts, strict=True))) for parts in zip(*ranks, strict=True)]

    last = batches[0][-1]
    for world_size in (2, 3):
        shared = by_processes(world_size)
        assert_same(shared[:-1], batches[0][:-1])
        # Of the last, smaller batch all processes get equally many rows.
        even = len(last[0]) - len(last[0]) % world_size
        assert_same(shared[-1:], [[part[:even] for part in last]])
    alone = loader(whole)
    list(itertools.islice(alone, 17))
    assert_same(by_processes(2, alone.state_dict())[:-1], batches[0][17:-1])
    half = loader(whole, 150, rank=1, world_size=2)
    list(itertools.islice(half, 17))
    alone.load_state_dict(half.state_dict())
    assert_same(list(alone), batches[0][17:])


def test_a_state_of_other_batches_is_refused():
    state = {**loader(whole=True).state_dict(), "batches": 3}
    for options, said in (
        ({"batch_size": 100}, r"batches of 300 rows over all processes, and this run has 100.*product is 300\.$"),
        ({"seed": 1}, r"--seed_everything 0, and this run has 1: give the same\.$"),
        ({"window": 128}, r"windows of 4,096 rows, and these have 128: give --data\.window 4096\.$"),
    ):
        with pytest.raises(ConfigError, match=said):
            loader(True, **options).load_state_dict(state)
    for other in ({**state, "data": 5}, {**state, "rows": 5}, {"epoch": 0, "batches": 3}):
        with pytest.raises(ConfigError, match=r"begun on other rows than these.*--data\.root.*--start_from\.$"):
            loader(whole=True).load_state_dict(other)
    loader(True, batch_size=100, seed=1).load_state_dict(
        {**state, "batches": 0}
    )  # an epoch's start is no epoch's middle


def readers() -> int:
    gc.collect()
    return sum(thread.name == "reader of windows" for thread in threading.enumerate())


def test_what_reading_meets_is_raised_where_the_batch_is_asked_for():
    with pytest.raises(DataError, match=r"^shard 3 is cut short; make it again\.$"):
        list(loader(False, x=Counted([X[:, :2]], bad=7777)))
    assert readers() == 0


def test_no_thread_outlives_an_iteration():
    def broken_off(error: type[BaseException]) -> None:
        for _ in loader(whole=False):
            assert readers() == 1
            raise error

    for error in (ValueError, KeyboardInterrupt):
        with pytest.raises(error):
            broken_off(error)
        assert readers() == 0
    iterator = iter(loader(whole=False))
    assert readers() == 0  # nothing is read before the first batch is asked for
    next(iterator)
    iterator.close()
    assert readers() == 0
    assert len(list(loader(whole=False))) == 30
    assert readers() == 0


def test_several_iterators_go_on_beside_each_other(batches):
    one = loader(whole=False)
    first, second = iter(one), iter(one)
    pairs = list(zip(first, second, strict=True))
    assert_same([pair[0] for pair in pairs], batches[0])
    assert_same([pair[1] for pair in pairs], batches[0])


def test_the_reader_is_ahead_by_one_window_and_no_more():
    x = Counted([X[:, :2]])
    iterator = iter(loader(False, x=x, window=2048))
    next(iterator)
    deadline = time.monotonic() + 20
    while x.count < 4096 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.1)
    assert x.count == 4096  # of rows that are there, held out or not
    iterator.close()


def test_the_system_hears_of_each_block_once_before_it_is_read(monkeypatch):
    monkeypatch.setattr("ae_lightning.data.window_reader._HANDS", 1)
    monkeypatch.setattr("ae_lightning.data.window_reader._AHEAD", 4)
    x = Counted([X[:, :2]])
    list(loader(False, x=x, window=1024))  # 16 blocks of 64 rows
    heard: list[tuple[int, int]] = []
    ahead = []
    for what, *block in x.heard:
        if what == "expect":
            heard.append(tuple(block))
        else:
            if tuple(block) in heard:
                heard.remove(tuple(block))
            ahead.append(len(heard))
    assert not heard
    reads = [block for what, *block in x.heard if what == "read"]
    assert len(reads) == 157
    expected = [block for what, *block in x.heard if what == "expect"]
    assert len(expected) == 157 - 10  # all but the first of each window
    assert max(ahead) == 4


def test_errors():
    with pytest.raises(
        DataError, match=r"8,889 training rows, fewer than a batch of 9,000; lower --data\.batch_size\.$"
    ):
        loader(True, 9000)
    with pytest.raises(DataError, match=r"a batch of 9,000, 3,000 on each of 3 processes; lower"):
        loader(True, 3000, rank=1, world_size=3)
    rows = {"fingerprint": 7, "memory": 1000}
    said = r"^Two windows of 64 rows take 150\.0 KiB, and --data\.memory is 1\.0 KiB; raise it to 1 MiB or more\.$"
    with pytest.raises(ConfigError, match=said):
        WindowedRows(Selection([MASK]), [JoinedRows([X.repeat(1, 100)])], window=64, **rows)
    # Two windows of 300 rows, of which blocks of 64 leave 256, take 6 KiB.
    said = r"^Two windows of 300 rows take 6\.0 KiB, and .* is 5\.9 KiB; raise it, or give --data\.window 128\.$"
    with pytest.raises(ConfigError, match=said):
        WindowedRows(Selection([MASK]), [JoinedRows([X])], window=300, fingerprint=7, memory=6000)
    WindowedRows(Selection([MASK]), [JoinedRows([X])], window=128, fingerprint=7, memory=6000)
    said = r"^Two windows of 10,000 rows, as by default, take 234\.4 KiB, and --data\.memory is 5\.9 KiB; raise it, or"
    with pytest.raises(ConfigError, match=said):
        WindowedRows(Selection([MASK]), [JoinedRows([X])], fingerprint=7, memory=6000)
