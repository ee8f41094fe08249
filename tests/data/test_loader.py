import itertools

import lightning as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from ae_lightning.data import BatchLoader, InMemoryDataset
from ae_lightning.data.loader import EpochOrder
from ae_lightning.errors import ConfigError, DataError


def numbers(n: int) -> InMemoryDataset:
    return InMemoryDataset(torch.arange(float(n))[:, None])


def read(loader, count: int | None = None) -> list[list[int]]:
    return [x.flatten().int().tolist() for x, _ in itertools.islice(loader, count)]


def order(seed: int, epoch: int, **options) -> list[int]:
    made = EpochOrder(50, shuffle=True, seed=seed, **options)
    made.set_epoch(epoch)
    return made.indices().tolist()


def test_order_is_a_permutation_that_follows_from_seed_and_epoch():
    assert sorted(order(0, 0)) == list(range(50))
    assert order(3, 4) == order(3, 4)
    pairs = itertools.product(range(4), range(4))
    assert len({tuple(order(seed, epoch)) for seed, epoch in pairs}) == 16


def test_order_leaves_the_global_random_state_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    list(BatchLoader(numbers(10), 3, shuffle=True))
    assert torch.equal(torch.get_rng_state(), before)
    first = order(0, 0)
    torch.manual_seed(2)
    assert order(0, 0) == first


def test_shuffled_shards_are_disjoint_and_equal():
    shards = [order(0, 1, rank=rank, world_size=4, even=True) for rank in range(4)]
    assert [len(shard) for shard in shards] == [12] * 4
    assert len(set(itertools.chain(*shards))) == 48
    # The two that are left out change from epoch to epoch, since the shuffle comes first.
    dropped = {
        frozenset(range(50)) - {i for r in range(4) for i in order(0, e, rank=r, world_size=4, even=True)}
        for e in range(3)
    }
    assert len(dropped) == 3


def test_evaluation_shards_cover_the_set_without_padding():
    shards = [read(BatchLoader(numbers(10), 2, rank=rank, world_size=3)) for rank in range(3)]
    assert shards == [[[0, 3], [6, 9]], [[1, 4], [7]], [[2, 5], [8]]]


def test_even_shards_without_shuffling():
    loaders = [BatchLoader(numbers(10), 2, rank=rank, world_size=3, even_shards=True) for rank in range(3)]
    assert [read(loader) for loader in loaders] == [[[0, 3], [6]], [[1, 4], [7]], [[2, 5], [8]]]


@pytest.mark.parametrize(
    ("drop_last", "batches"), [(False, [[0, 1, 2], [3, 4, 5], [6]]), (True, [[0, 1, 2], [3, 4, 5]])]
)
def test_batches_and_length(drop_last, batches):
    loader = BatchLoader(numbers(7), 3, drop_last=drop_last)
    assert read(loader) == batches
    assert len(loader) == len(batches)


def test_epoch_is_read_at_the_first_batch_not_when_the_iterator_is_made():
    loader = BatchLoader(numbers(20), 4, shuffle=True)
    iterator = iter(loader)
    loader.sampler.set_epoch(5)
    late = read(iterator)
    assert late == read(loader)
    loader.sampler.set_epoch(0)
    assert read(loader) != late


def test_resumes_once_in_the_middle():
    loader = BatchLoader(numbers(20), 4, shuffle=True)
    loader.sampler.set_epoch(3)
    whole = read(loader)
    read(loader, 2)
    state = loader.state_dict()
    assert state == {"epoch": 3, "batches": 2}

    other = BatchLoader(numbers(20), 4, shuffle=True)
    other.load_state_dict(state)
    assert other.state_dict() == state  # a checkpoint before the first batch loses nothing
    assert read(other) == whole[2:]
    assert read(other) == whole


def test_a_finished_epoch_points_to_the_next_one():
    loader = BatchLoader(numbers(20), 4, shuffle=True)
    read(loader)
    assert loader.state_dict() == {"epoch": 1, "batches": 0}
    loader.sampler.set_epoch(1)
    following = read(loader)
    other = BatchLoader(numbers(20), 4, shuffle=True)
    other.load_state_dict({"epoch": 1, "batches": 0})
    assert read(other) == following


def test_an_abandoned_iteration_does_not_shift_the_next_one():
    loader = BatchLoader(numbers(20), 4, shuffle=True)
    whole = read(loader)
    read(loader, 3)
    assert read(loader) == whole
    unread = iter(loader)
    assert loader.state_dict() == {"epoch": 1, "batches": 0}
    assert next(unread)[0].flatten().int().tolist() == whole[0]


def test_limit_says_when_an_epoch_is_over():
    for limit in (2, 0.5):
        loader = BatchLoader(numbers(20), 4, limit=limit)
        read(loader, 2)
        assert loader.state_dict() == {"epoch": 1, "batches": 0}
        assert len(loader) == 5


def test_counts_on_from_the_state_when_the_trainer_is_an_epoch_ahead():
    loader = BatchLoader(numbers(20), 4, shuffle=True)
    orders = []
    for epoch in range(4):
        loader.sampler.set_epoch(epoch)
        orders.append(read(loader))
    loader.load_state_dict({"epoch": 1, "batches": 3})
    loader.sampler.set_epoch(2)
    assert read(loader) == orders[1][3:]
    loader.sampler.set_epoch(3)
    assert read(loader) == orders[2]


def test_errors():
    with pytest.raises(ConfigError, match=r"batch of 0 samples.*--data\.batch_size"):
        BatchLoader(numbers(3), 0)
    with pytest.raises(DataError, match=r"3 samples of a process.*a batch of 4.*--data\.batch_size.*drop_last"):
        BatchLoader(numbers(3), 4, drop_last=True)
    with pytest.raises(DataError, match=r"set of 3 samples.*4 processes.*--trainer\.devices"):
        BatchLoader(numbers(3), 4, shuffle=True, world_size=4)


class Recorder(L.LightningModule):
    """Remembers what it was trained on."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.seen = []

    def training_step(self, batch, batch_idx):
        self.seen.append(batch[0].flatten().int().tolist())
        return self.layer(batch[0]).mean() * 1e-6

    def validation_step(self, batch, batch_idx):
        self.log("val", batch[0].mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 1e-6)


def fit(folder, *, ckpt_path=None, checkpoint=None, save_after=None, **options) -> list[list[int]]:
    trainer = L.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        default_root_dir=folder,
        enable_checkpointing=checkpoint is not None,
        callbacks=[] if checkpoint is None else [ModelCheckpoint(folder, "run", **checkpoint)],
        **options,
    )
    model = Recorder()
    train = BatchLoader(numbers(20), 4, shuffle=True, limit=trainer.limit_train_batches)
    trainer.fit(model, train, BatchLoader(numbers(6), 4), ckpt_path=ckpt_path, weights_only=True)
    if save_after:
        trainer.save_checkpoint(save_after)
    return model.seen


EVERY_STEP = {"every_n_train_steps": 1}
EPOCH_END = {"save_on_train_epoch_end": True}
EPOCHS = {"max_epochs": 4}


@pytest.mark.parametrize("resume_by", ["max_epochs", "max_steps"])
@pytest.mark.parametrize(
    ("checkpoint", "stop", "options", "steps"),
    [
        pytest.param(EVERY_STEP, {"max_steps": 8}, {}, 20, id="inside an epoch"),
        pytest.param(EVERY_STEP, {"max_steps": 4}, {"accumulate_grad_batches": 2}, 12, id="accumulating"),
        pytest.param(EVERY_STEP, {"max_steps": 5}, {}, 20, id="last batch"),
        pytest.param(EPOCH_END, {"max_epochs": 2}, {}, 20, id="end of an epoch"),
        pytest.param({}, {"max_epochs": 2}, {}, 20, id="after validation"),
        pytest.param(None, {"max_epochs": 2}, {}, 20, id="after fit"),
        pytest.param(EPOCH_END, {"max_epochs": 2}, {"limit_train_batches": 3}, 12, id="limited, end"),
        pytest.param(EVERY_STEP, {"max_steps": 4}, {"limit_train_batches": 0.6}, 12, id="limited, inside"),
        pytest.param(EVERY_STEP, {"max_steps": 3}, {"limit_train_batches": 3}, 12, id="limited, last batch"),
    ],
)
def test_a_resumed_fit_sees_what_an_uninterrupted_one_sees(tmp_path, checkpoint, stop, options, steps, resume_by):
    whole = fit(tmp_path, **EPOCHS, **options)
    saved = str(tmp_path / "run.ckpt")
    after = None if checkpoint is not None else saved
    begun = fit(tmp_path, checkpoint=checkpoint, save_after=after, **{"max_epochs": 100, **stop}, **options)
    until = EPOCHS if resume_by == "max_epochs" else {"max_epochs": -1, "max_steps": steps}
    rest = fit(tmp_path, ckpt_path=saved, **until, **options)
    assert 0 < len(begun) < len(whole)
    assert begun + rest == whole


@pytest.mark.parametrize("checkpoint", [EPOCH_END, None], ids=["last.ckpt", "after fit"])
def test_a_run_stopped_by_max_steps_goes_on_where_it_stopped(tmp_path, checkpoint):
    # Lightning counts the broken epoch as done and calls it by the next number; the loader does not.
    whole = fit(tmp_path, **EPOCHS)
    saved = str(tmp_path / "run.ckpt")
    begun = fit(tmp_path, checkpoint=checkpoint, save_after=None if checkpoint else saved, max_steps=8)
    assert begun + fit(tmp_path, ckpt_path=saved, max_epochs=-1, max_steps=20) == whole
