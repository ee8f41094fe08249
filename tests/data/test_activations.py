import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from jsonargparse import ArgumentParser
from torch import Tensor

from ae_lightning.data import ActivationsDataModule
from ae_lightning.data.in_memory import InMemoryDataset, draw_rows
from ae_lightning.data.store import StoreWriter, shuffle_store
from ae_lightning.data.store_split import parts_of_samples
from ae_lightning.errors import DataError, Notice, UserError

SAMPLES, LONGEST = 300, 24
WIDTHS = {"h": 16, "mlp:output": 6}
SHARD = 1024


class Made:
    """A store of sequences, and what is in it."""

    def __init__(self, folder: Path) -> None:
        generator = np.random.default_rng(0)
        lengths = generator.integers(1, LONGEST + 1, size=SAMPLES)
        self.folder = folder
        self.sample = torch.from_numpy(np.repeat(np.arange(SAMPLES), lengths))
        self.position = torch.from_numpy(np.concatenate([np.arange(length) for length in lengths]))
        self.y = self.sample % 5
        self.rows = len(self.sample)
        made = {name: 3 * generator.normal(size=(self.rows, width)) + 1 for name, width in WIDTHS.items()}
        # The first two numbers of a row of h say which row it is, in float16 too.
        made["h"][:, :2] = np.stack([np.arange(self.rows) // 64, np.arange(self.rows) % 64], axis=1)
        self.arrays = {name: torch.from_numpy(rows).half() for name, rows in made.items()}
        with StoreWriter(
            folder, {}, WIDTHS, "float16", SHARD, ("sample", "position", "y"), command="make it"
        ) as writer:
            for start in range(0, self.rows, 700):
                part = slice(start, start + 700)
                rows = {name: values[part] for name, values in self.arrays.items()}
                writer.add(rows, self.sample[part], self.position[part], self.y[part])
            writer.finish(model={"name": "Net"}, data={"kind": "vectors"}, samples=SAMPLES, num_classes=5)

    def rows_of(self, h: Tensor) -> Tensor:
        """The numbers of rows, by their values as they are stored."""
        rows = (h[:, 0] * 64 + h[:, 1]).long()
        assert torch.equal(h, self.arrays["h"][rows].float())
        return rows


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Made:
    return Made(tmp_path_factory.mktemp("activations") / "store")


def data(store: Made, **options) -> ActivationsDataModule:
    options = {"layer": "h", "batch_size": 256, "eval_batch_size": 100, **options}
    module = ActivationsDataModule(str(store.folder), **options)
    module.setup()
    return module


# Too little for all rows, enough for two windows of 512.
LITTLE = {"memory": 70_000, "window": 512}


def whole_set(dataset: InMemoryDataset) -> list[Tensor]:
    return [torch.cat(parts) for parts in zip(*dataset.batches(100), strict=True)]


@pytest.mark.parametrize("memory", [{}, LITTLE])
def test_sets_hold_whole_samples_and_together_all_rows(store, memory):
    module = data(store, **memory, val_fraction=0.2, test_fraction=0.1)
    rows = []
    for dataset in (module.train_set, module.val_set, module.test_set):
        x, y = whole_set(dataset)
        found = store.rows_of(x)
        assert torch.equal(found, found.sort().values)
        assert torch.equal(y, store.y[found])
        rows.append(found)
    assert torch.equal(torch.cat(rows).sort().values, torch.arange(store.rows))
    samples = [store.sample[found].unique() for found in rows]
    assert [len(one) for one in samples] == [210, 60, 30]
    assert len(torch.cat(samples).unique()) == SAMPLES
    for part, one in zip(("train", "val", "test"), samples, strict=True):
        assert torch.equal(module.samples_of(part), one)
    assert not module.test_is_validation
    # The held out samples are the same with and without a test set; another seed holds out others.
    alike, other = (data(store, **memory, val_fraction=0.2, seed=seed) for seed in (0, 1))
    assert torch.equal(alike.samples_of("val"), samples[1])
    assert torch.equal(alike.samples_of("test"), samples[1])
    assert alike.test_is_validation
    assert not torch.equal(other.samples_of("val"), samples[1])


def test_parts_are_drawn_from_all_samples():
    parts = parts_of_samples(10_000, [0.25, 0.1], seed=3)
    assert [int((parts == number).sum()) for number in range(3)] == [6500, 2500, 1000]
    # Their mean place is that of a uniform draw: within three standard errors of the middle.
    for number, count in ((1, 2500), (2, 1000)):
        error = math.sqrt(10_000**2 / 12 / count)
        assert abs(np.flatnonzero(parts == number).mean() - 5000) < 3 * error


def test_rows_that_fit_and_rows_in_windows_give_the_same(store, monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "3")
    options = {"layer": ["mlp:output", "h"], "target": "mlp:output", "normalize": "centered_mean_square"}
    memory = {"memory": 150_000, "window": 512}
    whole, lazy = data(store, **options, window=512), data(store, **options, **memory)
    assert "read whole, " in whole.description
    assert "read in windows of 512 rows, " in lazy.description
    assert whole.fingerprint() == lazy.fingerprint()
    for ours, theirs in zip(whole.train_dataloader(), lazy.train_dataloader(), strict=True):
        assert all(map(torch.equal, ours, theirs))
    for ours, theirs in zip(whole.val_dataloader(), lazy.val_dataloader(), strict=True):
        assert all(map(torch.equal, ours, theirs))
    assert torch.equal(whole.starting_samples(50), lazy.starting_samples(50))


@pytest.mark.parametrize("memory", [{}, LITTLE])
def test_an_epoch_has_each_training_row_once_with_its_label(store, memory):
    module = data(store, **memory)
    loader = module.train_dataloader()
    orders = []
    for epoch in range(2):
        loader.sampler.set_epoch(epoch)
        x, y = (torch.cat(parts) for parts in zip(*loader, strict=True))
        rows = store.rows_of(x)
        assert torch.equal(y, store.y[rows])
        assert torch.equal(store.sample[rows].unique(), module.samples_of("train"))
        assert torch.equal(rows.sort().values, store.rows_of(whole_set(module.train_set)[0]))
        orders.append(rows)
    assert not torch.equal(*orders)


def test_scales_and_centers_come_from_the_index(store):
    h = store.arrays["h"].double()
    mean = h.mean(dim=0)
    expected = {
        "none": h,
        "mean_norm": h * math.sqrt(16) / h.norm(dim=1).mean(),
        "mean_square": h / h.square().sum(dim=1).mean().sqrt(),
        "centered": h - mean,
        "centered_mean_square": (h - mean) / (h - mean).square().sum(dim=1).mean().sqrt(),
    }
    for normalize, values in expected.items():
        module = data(store, normalize=normalize)
        row = int((store.sample == module.samples_of("train")[0]).nonzero()[0])
        x = module.train_set.take(1)[0]
        torch.testing.assert_close(x[0].double(), values[row], rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(module.scaling.undone(x)[0].double(), h[row], rtol=1e-5, atol=1e-5)
        low, high = module.value_range
        assert low <= float(values.min()) + 1e-5
        assert high >= float(values.max()) - 1e-5
        # Centers move each entry by itself, so that the bounds are wider than the values.
        if normalize in ("none", "mean_norm", "mean_square"):
            assert (low, high) == pytest.approx((float(values.min()), float(values.max())), rel=1e-5)


def test_layers_come_side_by_side_and_a_target_beside_them(store):
    module = data(store, layer=["mlp:output", "h"], target="mlp:output", normalize="mean_norm", test_fraction=0.1)
    assert module.input_shape == (22,)
    assert module.target_shape == (6,)
    assert module.num_classes == 5
    factors = {
        name: math.sqrt(WIDTHS[name]) / float(rows.double().norm(dim=1).mean()) for name, rows in store.arrays.items()
    }
    x, y, target = next(iter(module.train_dataloader()))
    rows = store.rows_of((x[:, 6:].double() / factors["h"]).half().float())
    assert torch.equal(y, store.y[rows])
    for found, name in ((x[:, :6], "mlp:output"), (x[:, 6:], "h"), (target, "mlp:output")):
        torch.testing.assert_close(
            found.double(), store.arrays[name][rows].double() * factors[name], rtol=1e-5, atol=1e-6
        )
    for dataset in (module.val_set, module.test_set):
        x, _, target = dataset.take(3)
        assert torch.equal(x[:, :6], target)


def test_what_is_known_before_setup(store):
    module = ActivationsDataModule(str(store.folder), layer="h")
    assert module.input_shape == (16,)
    assert module.target_shape is None
    assert module.num_classes == 5
    assert module.value_range == (float(store.arrays["h"].min()), float(store.arrays["h"].max()))
    assert module.title == "Activations of h in Net"


def test_a_fit_says_what_is_in_memory(store):
    module = ActivationsDataModule(str(store.folder), layer="h", batch_size=64)
    with pytest.warns(Notice, match=r"^Activations of h in Net: read whole, which takes \d+\.\d KiB of memory\.$"):
        module.setup("fit")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        module.setup("fit")
        data(store)


def pairs_of_one_sample(module: ActivationsDataModule, store: Made, epochs: int) -> list[float]:
    """How many pairs of rows in a batch are from one sample, in each of so many epochs."""
    loader = module.train_dataloader()
    rates = []
    for epoch in range(epochs):
        loader.sampler.set_epoch(epoch)
        same, of = 0, 0
        for x, _ in loader:
            sample = store.sample[store.rows_of(x)]
            same += int((sample[:, None] == sample).sum()) - len(x)
            of += len(x) * (len(x) - 1)
        rates.append(same / of)
    return rates


def test_after_a_shuffle_rows_of_one_sample_meet_as_often_as_any(store, tmp_path):
    # Windows of 512 of these rows, which lie in order, hold few samples; shuffled ones hold rows of all.
    made = Made(tmp_path / "store")
    shuffle_store(made.folder, seed=1)
    module = data(made, **LITTLE, drop_last=True)
    rates = pairs_of_one_sample(module, made, 8)
    sample = made.sample[torch.isin(made.sample, module.samples_of("train"))]
    counts, rows = torch.bincount(sample).double(), len(sample)
    expected = float((counts * (counts - 1)).sum()) / (rows * (rows - 1))
    error = np.std(rates) / math.sqrt(len(rates))
    assert abs(np.mean(rates) - expected) < 3 * error
    in_order = pairs_of_one_sample(data(store, **LITTLE, drop_last=True), store, 3)
    assert np.mean(in_order) > 3 * expected


def test_a_few_of_many_rows_are_drawn_without_a_permutation_of_all(monkeypatch):
    monkeypatch.setattr("ae_lightning.data.in_memory._PERMUTED", 1000)
    drawn = [draw_rows(2000, 900, torch.Generator().manual_seed(seed)) for seed in range(40)]
    assert all(len(rows.unique()) == 900 for rows in drawn)
    places = torch.cat(drawn).double()
    assert abs(float(places.mean()) - 999.5) < 3 * 2000 / math.sqrt(12 * len(places))
    assert torch.equal(drawn[0], draw_rows(2000, 900, torch.Generator().manual_seed(0)))


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"layer": "g"}, r"no array g \(--data\.layer\); .*\bh\b"),
        ({"layer": None}, r"holds 2 arrays; choose one with --data\.layer: there are h, mlp:output\.$"),
        ({"layer": ["h", "mlp:out"]}, r"no array mlp:out \(--data\.layer\); did you mean mlp:output\?$"),
        ({"target": "mlp:ouput"}, r"no array mlp:ouput \(--data\.target\); did you mean mlp:output\?$"),
        ({"normalize": "unit"}, r"^--data\.normalize is 'unit'; it can be none, mean_norm, "),
        ({"memory": "lots"}, r"^--data\.memory is lots, which is no size; write .* such as 1GiB or 500MB\.$"),
        (
            {"memory": "10kB"},
            r"^Two windows of [\d,]+ rows, as by default, take .*; raise it, or give --data\.window \d+\.$",
        ),
        (
            {"layer": [0.1]},
            r"^--data\.layer lists the number 0\.1; put names of layers in quotes, as in '\[\"0\.1\"\]'\.$",
        ),
        ({"window": 0}, r"^--data\.window is 0; it must be at least 1\.$"),
        ({**LITTLE, "device_resident": True}, r"needs all rows in memory, .* raise --data\.memory, or leave it out\.$"),
        ({"val_fraction": 0.6, "test_fraction": 0.4}, r"together is 1; it must lie between 0 and 1"),
        ({"test_fraction": 0.0001}, r"^The test set of Activations of h in Net is empty"),
    ],
)
def test_mistakes_are_told_in_a_sentence(store, options, said):
    with pytest.raises(UserError, match=said):
        data(store, **options)


def test_fewer_rows_than_a_batch_are_refused(store):
    with pytest.raises(DataError, match=r"training rows, fewer than a batch of 10,000; lower --data\.batch_size\.$"):
        data(store, batch_size=10_000).train_dataloader()


def test_samples_that_the_index_does_not_know_are_refused(tmp_path):
    with StoreWriter(tmp_path / "store", {}, {"h": 3}) as writer:
        writer.add({"h": torch.randn(10, 3)}, torch.arange(10), torch.zeros(10))
        writer.finish(model={}, data={}, samples=8)
    with pytest.raises(DataError, match=r"rows of samples 0 to 9, and its index tells of 8 samples; harvest it again"):
        ActivationsDataModule(str(tmp_path / "store")).setup()


def test_rows_without_length_have_no_scale(tmp_path):
    with StoreWriter(tmp_path / "store", {}, {"h": 3}) as writer:
        writer.add({"h": torch.zeros(10, 3)}, torch.arange(10), torch.zeros(10))
        writer.finish(model={}, data={}, samples=10)
    with pytest.raises(
        DataError, match=r"All rows of h in .* are 0, so that --data\.normalize mean_norm has no factor"
    ):
        ActivationsDataModule(str(tmp_path / "store"), normalize="mean_norm", batch_size=2).setup()


def test_layers_that_are_called_by_numbers_are_named_on_the_command_line(tmp_path: Path) -> None:
    x, number = torch.randn(40, 3), torch.arange(40)
    with StoreWriter(tmp_path / "store", {}, {"1": 3, "2": 3}, "float32", extras=("sample", "position")) as writer:
        writer.add({"1": x, "2": 2 * x}, number, torch.zeros(40))
        writer.finish(model={}, data={}, samples=40)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(ActivationsDataModule, "data", instantiate=True)
    arguments = ["--data.root", str(tmp_path / "store"), "--data.batch_size", "8", "--data.layer", "[2,1]"]
    module = parser.instantiate_classes(parser.parse_args(arguments)).data
    assert module.layers == ["2", "1"]
