import lightning as L
import numpy as np
import pytest
import torch

from ae_lightning.data import AutoencoderDataModule, BatchLoader, InMemoryDataset, split_train_val
from ae_lightning.errors import ConfigError, DataError


class Numbers(AutoencoderDataModule):
    """The numbers 0 … n - 1, each its own sample; `calls` counts how often they were made."""

    def __init__(self, sizes=(20, 6, 4), **options):
        super().__init__(**options)
        self.sizes = sizes
        self.calls = 0

    input_shape = (1,)
    value_range = (0.0, 19.0)
    num_classes = None

    def make_sets(self):
        self.calls += 1
        train, val, test = (InMemoryDataset(torch.arange(float(n))[:, None]) for n in self.sizes)
        return train, val, test


class Model(L.LightningModule):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.seen = []
        self.rest = {"val": [], "test": [], "predict": []}

    def training_step(self, batch, batch_idx):
        self.seen.append(batch[0].flatten().int().tolist())
        return self.layer(batch[0]).mean() * 1e-6

    def validation_step(self, batch, batch_idx):
        self.rest["val"] += batch[0].flatten().int().tolist()

    def test_step(self, batch, batch_idx):
        self.rest["test"] += batch[0].flatten().int().tolist()

    def predict_step(self, batch, batch_idx):
        self.rest["predict"] += batch[0].flatten().int().tolist()

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 1e-6)


def trainer(folder, **options) -> L.Trainer:
    return L.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
        num_sanity_val_steps=0,
        default_root_dir=folder,
        **{"max_epochs": 1, **options},
    )


def rows(loader: BatchLoader) -> list[int]:
    return [int(value) for x, _ in loader for value in x.flatten()]


@pytest.mark.parametrize(("n", "fraction", "held_out"), [(60_000, 0.1, 6_000), (10, 0.25, 2), (3, 0.5, 2)])
def test_split_is_disjoint_covering_and_sorted(n, fraction, held_out):
    train, val = split_train_val(n, fraction, seed=0)
    assert len(val) == held_out
    assert torch.equal(torch.cat([train, val]).sort().values, torch.arange(n))
    assert torch.equal(train, train.sort().values)
    assert torch.equal(val, val.sort().values)


def test_split_follows_from_the_seed_alone():
    first = split_train_val(1000, 0.1, 0)[1]
    torch.manual_seed(99)
    state = torch.get_rng_state()
    assert torch.equal(split_train_val(1000, 0.1, 0)[1], first)
    assert not torch.equal(split_train_val(1000, 0.1, 1)[1], first)
    assert torch.equal(torch.get_rng_state(), state)
    # A draw, not a block: a tenth of each half, give or take.
    assert 30 < int((first < 500).sum()) < 70


def test_split_that_leaves_a_set_empty():
    with pytest.raises(DataError, match=r"--data\.val_fraction 0\.1 of 4 samples leaves 4 .* 0 for validation"):
        split_train_val(4, 0.1, 0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, r"--data\.batch_size is 0; it must be at least 1"),
        ({"eval_batch_size": -1}, r"--data\.eval_batch_size is -1"),
        ({"val_fraction": 0.0}, r"--data\.val_fraction is 0; it must lie between 0 and 1"),
        ({"val_fraction": 1.0}, r"--data\.val_fraction is 1;"),
        ({"val_fraction": float("nan")}, r"--data\.val_fraction is nan;"),
        ({"seed": -1}, r"--data\.seed is -1; it must not be negative"),
    ],
)
def test_options_out_of_range(options, message):
    with pytest.raises(ConfigError, match=message):
        Numbers(**options)


def test_a_set_before_setup():
    with pytest.raises(DataError, match=r"Numbers has no data yet; call its setup\(\)"):
        _ = Numbers().train_set


@pytest.mark.parametrize(("sizes", "name"), [((0, 6, 4), "training"), ((5, 0, 4), "validation"), ((5, 6, 0), "test")])
def test_an_empty_set(sizes, name):
    with pytest.raises(DataError, match=f"The {name} set of Numbers is empty"):
        Numbers(sizes).setup()


def test_fewer_samples_than_a_batch_with_drop_last():
    data = Numbers(batch_size=21, drop_last=True)
    data.setup()
    with pytest.raises(DataError, match=r"20 samples .* a batch of 21.*lower --data\.batch_size"):
        data.train_dataloader()


def test_second_setup_makes_nothing():
    data = Numbers()
    data.setup("fit")
    train = data.train_set
    data.setup("test")
    assert data.calls == 1
    assert data.train_set is train


def test_description():
    data = Numbers((2000, 6, 4))
    data.setup()
    assert data.description == "Numbers: 2,000 train, 6 validation, 4 test samples of 1"


def test_training_order_follows_seed_everything_and_not_the_data_seed(monkeypatch):
    def order(seed_everything: str | None, **options) -> list[int]:
        if seed_everything is None:
            monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
        else:
            monkeypatch.setenv("PL_GLOBAL_SEED", seed_everything)
        data = Numbers(**options)
        data.setup()
        return rows(data.train_dataloader())

    assert order("0") == order(None) == order("0", seed=5)
    assert order("0") != order("1")
    assert sorted(order("1")) == list(range(20))


def test_evaluation_loaders_keep_the_order():
    data = Numbers(eval_batch_size=4)
    data.setup()
    assert rows(data.val_dataloader()) == list(range(6))
    assert rows(data.test_dataloader()) == rows(data.predict_dataloader()) == list(range(4))
    assert len(data.val_dataloader()) == 2


def test_in_a_trainer(tmp_path):
    model, data, run = Model(), Numbers(batch_size=8, eval_batch_size=4), trainer(tmp_path, max_epochs=2)
    run.fit(model, data)
    assert [len(batch) for batch in model.seen] == [8, 8, 4] * 2
    first, second = sum(model.seen[:3], []), sum(model.seen[3:], [])  # noqa: RUF017
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second
    run.test(model, data, verbose=False)
    run.predict(model, data, return_predictions=False)
    assert model.rest == {"val": [*range(6), *range(6)], "test": [*range(4)], "predict": [*range(4)]}
    assert data.calls == 1


def test_overfitting_repeats_the_same_batches(tmp_path):
    model = Model()
    trainer(tmp_path, max_epochs=3, overfit_batches=2).fit(model, Numbers(batch_size=4))
    assert model.seen == [[0, 1, 2, 3], [4, 5, 6, 7]] * 3


def test_device_resident_sets_are_moved_once(tmp_path):
    data = Numbers(device_resident=True)
    run = trainer(tmp_path)
    run.strategy._root_device = torch.device("meta")
    data.trainer = run
    data.setup()
    moved = data.train_set
    assert {s.device.type for s in (data.train_set, data.val_set, data.test_set)} == {"meta"}
    data.setup()
    assert data.train_set is moved


def test_shards_come_from_the_trainer(tmp_path):
    class SecondOfThree:
        global_rank, world_size, overfit_batches, limit_train_batches = 1, 3, 0, 1.0

    data = Numbers(batch_size=4)
    data.setup()
    data.trainer = SecondOfThree()
    assert rows(data.val_dataloader()) == [1, 4]
    assert len(rows(data.train_dataloader())) == 6


def test_examples_are_training_samples_each_at_most_once():
    data = Numbers()
    data.setup()
    global_state = torch.get_rng_state()

    def draw(n: int, seed: int) -> list[float]:
        x = data.examples(n, torch.Generator().manual_seed(seed))
        assert x.shape[1:] == data.input_shape
        return x.flatten().tolist()

    assert len(draw(5, 0)) == 5
    assert draw(5, 0) == draw(5, 0) != draw(5, 1)
    assert sorted(draw(20, 0)) == sorted(draw(100, 0)) == list(range(20))  # the training set has no more
    assert torch.equal(torch.get_rng_state(), global_state)
    often = np.bincount([int(value) for seed in range(400) for value in draw(5, seed)], minlength=20)
    assert (abs(often - 100) < 4 * np.sqrt(400 * 0.25 * 0.75)).all(), often


def test_examples_are_normalized_as_batches_are():
    class Scaled(Numbers):
        def make_sets(self):
            x = torch.arange(20, dtype=torch.uint8)[:, None]
            rows = torch.tensor([3, 7, 11])
            part = InMemoryDataset(x, indices=rows, scale=0.5, shift=1.0)
            return part, part, part

    data = Scaled()
    data.setup()
    x = data.examples(10, torch.Generator().manual_seed(0))
    assert x.dtype == torch.float32
    assert sorted(x.flatten().tolist()) == [2.5, 4.5, 6.5]


def test_fingerprint_is_that_of_the_training_set():
    first, second, third = Numbers(), Numbers((20, 5, 5)), Numbers((19, 6, 4))
    for data in (first, second, third):
        data.setup()
    assert first.fingerprint() == second.fingerprint() != third.fingerprint()
    assert len(first.fingerprint()) == 16
