import hashlib

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from ae_lightning.data import InMemoryDataset
from ae_lightning.errors import DataError


def pixels() -> torch.Tensor:
    return torch.tensor([[[0, 51], [102, 255]], [[1, 2], [3, 4]], [[10, 20], [30, 40]]], dtype=torch.uint8)


def test_scales_a_batch_by_hand():
    x, y = InMemoryDataset(pixels(), torch.tensor([7, 8, 9]), scale=2.0, shift=-1.0).__getitems__([2, 0])
    assert x.dtype == torch.float32
    assert x.tolist() == [[[19, 39], [59, 79]], [[-1, 101], [203, 509]]]
    assert y.tolist() == [9, 7]


def test_a_batch_never_aliases_the_data():
    stored = torch.ones(3, 2)
    dataset = InMemoryDataset(stored)
    for x, _ in (dataset.__getitems__([0, 1]), dataset.take(3), *dataset.batches(2)):
        x.zero_()
    assert stored.tolist() == [[1, 1]] * 3


def test_white_becomes_exactly_one():
    x, _ = InMemoryDataset(torch.tensor([[0, 255]], dtype=torch.uint8), scale=1 / 255).take(1)
    assert x.tolist() == [[0.0, 1.0]]


def test_subset_reads_its_rows_in_its_order():
    dataset = InMemoryDataset(torch.arange(10.0)[:, None], torch.arange(10), indices=torch.tensor([8, 2, 5]))
    x, y = dataset.__getitems__(torch.tensor([1, 2]))
    assert x.flatten().tolist() == [2, 5]
    assert y.tolist() == [2, 5]
    assert len(dataset) == 3
    assert dataset[0][0].item() == 8
    assert dataset[-1][0].item() == 5
    assert [float(x) for x, _ in dataset] == [8, 2, 5]


def test_index_out_of_range():
    with pytest.raises(IndexError, match="sample 3 of a set of 3"):
        InMemoryDataset(pixels())[3]


def test_without_labels_y_is_empty():
    x, y = InMemoryDataset(pixels()).take(2)
    assert x.shape == (2, 2, 2)
    assert y.shape == (2, 0)


def test_per_channel_scale():
    dataset = InMemoryDataset(
        torch.ones(2, 2, 1, 3),
        scale=torch.tensor([2.0, 3.0]).view(2, 1, 1),
        shift=torch.tensor([0.0, 1.0]).view(2, 1, 1),
    )
    assert dataset.take(1)[0].tolist() == [[[[2, 2, 2]], [[4, 4, 4]]]]


def test_sample_shape_reshapes_row_by_row():
    dataset = InMemoryDataset(torch.arange(12.0).reshape(2, 6), sample_shape=[1, 2, 3])
    assert dataset.take(2)[0][1].tolist() == [[[6, 7, 8], [9, 10, 11]]]


def test_sample_shape_of_another_size():
    with pytest.raises(DataError, match=r"\(6,\) holds 6 numbers .*\(4,\); give --data.sample_shape"):
        InMemoryDataset(torch.zeros(2, 6), sample_shape=[4])


def test_other_number_of_labels():
    with pytest.raises(DataError, match="2 labels for 3 samples"):
        InMemoryDataset(pixels(), torch.zeros(2))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16, torch.int64, torch.bool])
def test_every_type_becomes_float32(dtype):
    x, _ = InMemoryDataset(torch.tensor([[0, 1]], dtype=dtype)).take(1)
    assert x.dtype == torch.float32
    assert x.tolist() == [[0, 1]]


@pytest.mark.parametrize("dtype", ["<f8", ">f4", "<u2", ">i4", "|b1", "<f2"])
def test_memory_map_of_any_type(tmp_path, dtype):
    np.save(tmp_path / "x.npy", np.array([[0, 1], [1, 0], [1, 1]], dtype=dtype))
    dataset = InMemoryDataset(np.load(tmp_path / "x.npy", mmap_mode="r"), scale=2.0, indices=torch.tensor([2, 1]))
    assert dataset.take(2)[0].tolist() == [[2, 2], [2, 0]]


def test_batches_cover_the_set_in_order_and_draw_nothing():
    torch.manual_seed(0)
    before = torch.get_rng_state()
    dataset = InMemoryDataset(torch.arange(7.0)[:, None])
    assert [x.flatten().tolist() for x, _ in dataset.batches(3)] == [[0, 1, 2], [3, 4, 5], [6]]
    assert torch.equal(torch.get_rng_state(), before)


def test_take_of_more_than_there_is():
    assert InMemoryDataset(pixels()).take(10)[0].shape == (3, 2, 2)


def test_to_device_copies_the_subset_alone():
    indices = torch.tensor([2, 0])
    dataset = InMemoryDataset(pixels(), torch.tensor([7, 8, 9]), indices=indices, scale=0.5, sample_shape=[4])
    copy = dataset.to("cpu")
    assert copy.x.shape == (2, 2, 2)
    assert copy.x.dtype == torch.uint8
    for one, other in zip(dataset.take(2), copy.take(2), strict=True):
        assert torch.equal(one, other)
    assert dataset.to("meta").__getitems__([0])[0].device.type == "meta"


def test_the_ordinary_loader_takes_it():
    dataset = InMemoryDataset(torch.arange(5.0)[:, None])
    loader = DataLoader(dataset, batch_size=2, collate_fn=lambda batch: batch)
    assert [x.flatten().tolist() for x, _ in loader] == [[0, 1], [2, 3], [4]]


def test_fingerprint_is_that_of_the_rows_wherever_they_live(tmp_path):
    rows = np.arange(12, dtype=np.float32).reshape(4, 3)
    np.save(tmp_path / "x.npy", rows)
    mapped = InMemoryDataset(np.load(tmp_path / "x.npy", mmap_mode="r"), indices=torch.tensor([1, 3]))
    tensor = InMemoryDataset(torch.from_numpy(rows), indices=torch.tensor([1, 3]))
    prints = {mapped.fingerprint(), tensor.fingerprint(), tensor.to("cpu").fingerprint()}
    assert len(prints) == 1
    factors = np.array([1, 0], dtype=np.float32).tobytes()
    truth = hashlib.sha256(b"float32 2 (3,)" + factors + rows[[1, 3]].tobytes()).hexdigest()
    assert prints == {truth[:16]}


def test_fingerprint_tells_everything_apart():
    x, y = torch.arange(12.0).reshape(4, 3), torch.arange(4)
    sets = [
        InMemoryDataset(x),
        InMemoryDataset(x + 1),
        InMemoryDataset(x.int()),
        InMemoryDataset(x, y),
        InMemoryDataset(x, y.flip(0)),
        InMemoryDataset(x, scale=2.0),
        InMemoryDataset(x, shift=2.0),
        InMemoryDataset(x, sample_shape=[3, 1]),
        InMemoryDataset(x, indices=torch.tensor([0, 1])),
        InMemoryDataset(x, indices=torch.tensor([1, 0])),
    ]
    assert len({s.fingerprint() for s in sets}) == len(sets)


def test_fingerprint_of_a_large_set_samples_rows(monkeypatch):
    monkeypatch.setattr("ae_lightning.data.in_memory.HASH_WHOLE", 100)
    monkeypatch.setattr("ae_lightning.data.in_memory.HASH_ROWS", 3)
    x = torch.arange(200.0).reshape(100, 2)
    before = InMemoryDataset(x).fingerprint()
    unseen, seen = x.clone(), x.clone()
    unseen[1] = -1
    seen[99] = -1
    assert InMemoryDataset(unseen).fingerprint() == before
    assert InMemoryDataset(seen).fingerprint() != before


@pytest.mark.parametrize("indices", [None, torch.tensor([9, 7, 5, 3, 1])])
def test_samples_are_drawn_without_replacement_and_in_order(indices):
    whole = InMemoryDataset(torch.arange(10).view(10, 1), torch.arange(10), indices=indices, scale=2.0)
    part = whole.drawn(3, torch.Generator().manual_seed(0))
    x, y = part.take(99)
    places = whole.take(99)[1].tolist()
    assert len(set(y.tolist())) == 3
    assert [places.index(label) for label in y.tolist()] == sorted(places.index(label) for label in y.tolist())
    assert x.flatten().tolist() == [2.0 * label for label in y.tolist()]
    assert part.x is whole.x
    assert torch.equal(whole.drawn(3, torch.Generator().manual_seed(0)).take(9)[1], y)
    assert whole.drawn(10, torch.Generator()) is whole


def test_an_instance_is_seen_and_not_copied():
    x = torch.arange(24.0).view(4, 3, 2)
    one = InMemoryDataset(x, indices=torch.tensor([3, 1])).instance(2)
    assert one.take(9)[0].tolist() == [[22.0, 23.0], [10.0, 11.0]]
    assert one.x.data_ptr() == x[:, 2].data_ptr()


def with_targets(indices: torch.Tensor | None = None) -> InMemoryDataset:
    """Samples i and i + 0.5 with label i, whose target is [10 i, 10 i + 1, 10 i + 2], stored a tenth as large."""
    numbers = torch.arange(6.0)
    stored = (numbers[:, None] * 10 + torch.arange(3.0)) / 10
    target = InMemoryDataset(stored.double().numpy(), scale=10.0)
    x = torch.stack([numbers, numbers + 0.5], dim=1)
    return InMemoryDataset(x, numbers.long(), indices=indices, scale=2.0, target=target)


def test_a_batch_holds_the_targets_of_its_own_rows_scaled_in_their_own_way():
    x, y, target = with_targets(torch.tensor([5, 1, 3])).__getitems__([2, 0])
    assert x.tolist() == [[6, 7], [10, 11]]
    assert y.tolist() == [3, 5]
    assert target.dtype == torch.float32
    torch.testing.assert_close(target, torch.tensor([[30.0, 31, 32], [50, 51, 52]]))
    one = with_targets()[4]
    assert [part.tolist() for part in one[:2]] == [[8, 9], 4]
    torch.testing.assert_close(one[2], torch.tensor([40.0, 41, 42]))


@pytest.mark.parametrize(
    "part",
    [
        with_targets(torch.tensor([4, 1, 2])).to("cpu"),
        with_targets().subset(torch.tensor([1, 2, 4])),
        with_targets().subset(torch.tensor([0, 1, 2, 4])).drawn(3, torch.Generator().manual_seed(3)),
    ],
)
def test_what_is_made_of_a_set_keeps_the_targets_of_its_rows(part):
    x, y, target = part.take(9)
    assert len(y) == 3
    assert x[:, 0].tolist() == (2.0 * y).tolist()
    assert target[:, 0].round().tolist() == (10.0 * y).tolist()
    torch.testing.assert_close(part.targets.take(9)[0], target)


def test_a_set_without_targets_is_its_own_target():
    plain = InMemoryDataset(pixels())
    assert plain.targets is plain
    assert len(plain.take(1)) == 2


def test_an_instance_has_its_own_targets():
    x, y = torch.arange(24.0).view(4, 3, 2), torch.arange(12.0).view(4, 3, 1)
    one = InMemoryDataset(x, indices=torch.tensor([3, 1]), target=InMemoryDataset(y)).instance(2)
    assert one.take(9)[2].tolist() == [[11.0], [5.0]]


def test_the_fingerprint_covers_the_targets_of_these_rows_alone():
    x, y = torch.arange(4.0)[:, None], torch.arange(8.0).view(4, 2)
    other = y.clone()
    other[3] += 1

    def of(target: torch.Tensor | None, rows: list[int]) -> str:
        known = None if target is None else InMemoryDataset(target)
        return InMemoryDataset(x, indices=torch.tensor(rows), target=known).fingerprint()

    assert len({of(None, [0, 3]), of(y, [0, 3]), of(other, [0, 3])}) == 3
    assert of(y, [0, 1]) == of(other, [0, 1])


def test_each_sample_needs_one_target():
    with pytest.raises(DataError, match="There are 2 targets for 3 samples; each sample needs one target"):
        InMemoryDataset(pixels(), target=InMemoryDataset(torch.zeros(2, 4)))
