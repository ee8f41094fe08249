import math

import numpy as np
import pytest
import torch

from ae_lightning.data.selection import Selection
from ae_lightning.data.windows import Share, WindowOrder, block_rows, default_window

BLOCK = 64


def rows_in_order(counts: list[int], blocks: int, seed: int = 0, epoch: int = 0) -> tuple[np.ndarray, WindowOrder]:
    """The rows of an epoch in their order, the first block holding 0, 1, … and so on."""
    order = WindowOrder(np.array(counts), blocks, seed=seed, epoch=epoch)
    firsts = np.cumsum([0, *counts])
    found = np.full(sum(counts), -1)
    for window in range(len(order)):
        rows = np.concatenate([np.arange(firsts[block], firsts[block + 1]) for block in order.blocks(window)])
        found[order.starts[window] + order.places(window)] = rows
    return found, order


def test_each_row_comes_once_and_a_window_holds_whole_blocks():
    counts = [BLOCK] * 30 + [17]
    rows, order = rows_in_order(counts, 8)
    assert sorted(rows.tolist()) == list(range(30 * BLOCK + 17))
    assert len(order) == 4
    for window in range(4):
        part = rows[order.starts[window] : order.starts[window + 1]]
        blocks = np.unique(part // BLOCK)
        assert len(part) == sum(counts[block] for block in blocks)
        assert len(blocks) == (8 if window < 3 else 7)


def test_the_order_follows_from_seed_and_epoch_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    found = {tuple(rows_in_order([BLOCK] * 20, 4, seed, epoch)[0]) for seed in range(3) for epoch in range(3)}
    assert len(found) == 9
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert tuple(rows_in_order([BLOCK] * 20, 4, 2, 1)[0]) in found


def test_one_window_is_a_uniform_permutation():
    # Of 6 rows all 720 orders are equally probable: chi-square with 719 degrees of freedom, three deviations.
    counts = np.zeros(720)
    orders: dict[tuple[int, ...], int] = {}
    for epoch in range(7200):
        rows = tuple(rows_in_order([3, 3], 2, epoch=epoch)[0].tolist())
        counts[orders.setdefault(rows, len(orders))] += 1
    chi_square = ((counts - 10) ** 2 / 10).sum()
    assert abs(chi_square - 719) < 3 * math.sqrt(2 * 719)


def test_rows_of_one_sequence_meet_as_often_as_chance_among_the_rows_of_a_window_has_it():
    length, batch, blocks, epochs = 8, 64, 8, 20
    rates = []
    for epoch in range(epochs):
        rows, order = rows_in_order([BLOCK] * 128, blocks, epoch=epoch)
        sequences = (rows // length).reshape(len(order), -1, batch)
        same = (sequences[..., :, None] == sequences[..., None, :]).sum(axis=(2, 3)) - batch
        rates += (same.mean(axis=1) / (batch * (batch - 1))).tolist()
    expected = (length - 1) / (blocks * BLOCK - 1)
    assert abs(np.mean(rates) - expected) < 3 * np.std(rates) / math.sqrt(len(rates))
    assert np.std(rates) / math.sqrt(len(rates)) < expected / 50  # so that the test can fail


def test_spans_are_the_windows_that_hold_a_stretch_of_the_order():
    order = WindowOrder(np.array([64, 64, 64, 0, 10]), 2, seed=0, epoch=0)
    sizes = np.diff(order.starts).tolist()
    assert sum(sizes) == 202
    stretches = [order.spans(start, min(start + 50, 202)) for start in range(0, 202, 50)]
    covered = [[place for _, first, end in spans for place in range(end - first)] for spans in stretches]
    assert list(map(len, covered)) == [50, 50, 50, 50, 2]
    places = [int(order.starts[w]) + i for w, first, end in order.spans(0, 202) for i in range(first, end)]
    assert places == list(range(202))


@pytest.mark.parametrize("world_size", [1, 2, 3, 5])
@pytest.mark.parametrize("drop_last", [False, True])
def test_shares_of_all_processes_make_the_same_global_batches(world_size, drop_last):
    shares = [Share(1000, 60 // world_size, rank, world_size, drop_last) for rank in range(world_size)]
    assert {share.batches for share in shares} == {16 if drop_last else 17}
    for number in range(shares[0].batches):
        places = [place for share in shares for place in range(*share.places(number))]
        rest = 1000 - 16 * 60
        expected = 60 if number < 16 else rest - rest % world_size
        assert places == list(range(60 * number, 60 * number + expected))


@pytest.mark.parametrize("rank", [0, 1, 2])
def test_rows_before_a_place_are_those_of_earlier_batches_and_of_the_batch(rank):
    share = Share(1003, 20, rank, 3)
    own = [place for number in range(share.batches) for place in range(*share.places(number))]
    counted = [sum(1 for place in own if place < end) for end in range(1004)]
    assert share.before(np.arange(1004)).tolist() == counted


def test_a_share_without_a_whole_row_of_the_last_batch_has_one_batch_less():
    assert Share(121, 20, 0, 3).batches == 2
    assert Share(123, 20, 0, 3).batches == 3
    assert Share(123, 20, 0, 3, drop_last=True).batches == 2


def test_sizes_of_windows_and_blocks():
    assert default_window(768) == 262_144  # 192 MiB of 256
    assert default_window(2**30) == 64
    assert block_rows(262_144, 768) == 2048
    assert block_rows(8192, 768) == 128  # a 64th of the window
    assert block_rows(100, 768) == 64


def test_a_selection_knows_its_rows():
    generator = np.random.default_rng(0)
    mask = generator.random(5000) < 0.3
    mask[:200] = False
    selection = Selection([mask[:1024], mask[1024:4096], mask[4096:]])
    rows = np.flatnonzero(mask)
    assert len(selection) == len(rows)
    assert np.array_equal(selection.all_rows(), rows)
    asked = generator.integers(len(rows), size=700)
    assert np.array_equal(selection.rows(asked), rows[asked])
    assert np.array_equal(selection.rows(asked[:0]), rows[:0])
    counts = [int(mask[start : start + 128].sum()) for start in range(0, 5000, 128)]
    assert selection.counts(128).tolist() == counts
    assert selection.before_blocks(128).tolist() == np.cumsum([0, *counts]).tolist()
    for start, stop in ((0, 64), (1024, 1600), (4992, 5000)):
        assert np.array_equal(selection.within(start, stop), np.flatnonzero(mask[start:stop]))
