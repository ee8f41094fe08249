import itertools
import random
from collections.abc import Iterator

import lightning as L
import numpy as np
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from ae_lightning.data.generated import GeneratedDataModule, GeneratedLoader
from ae_lightning.errors import ConfigError
from ae_lightning.training.batch import Batch


class Uniform(GeneratedDataModule):
    """Three uniform numbers a sample: the smallest data that can be generated."""

    input_shape = (3,)
    value_range = (0.0, 1.0)

    def __init__(self, instances: int | None = None, **options) -> None:
        super().__init__(**{"batch_size": 4, "steps_per_epoch": 5, "num_val": 6, "num_test": 7, **options})
        self._instances = instances

    @property
    def instances(self) -> int | None:
        return self._instances

    def draw(self, n: int, generator: torch.Generator) -> Batch:
        lead = () if self.instances is None else (self.instances,)
        return torch.rand(n, *lead, 3, generator=generator, device=generator.device), torch.empty(n, 0)


def made(**options) -> Uniform:
    data = Uniform(**options)
    data.setup()
    return data


def loader(**options) -> GeneratedLoader:
    return GeneratedLoader(Uniform().draw_steps, 4, 5, **{"seeds": (0, 0), "at_once": 3, **options})


def read(batches, count: int | None = None) -> list[bytes]:
    """The samples of batches as bytes, which compare bit for bit and can be counted."""
    return [x.numpy().tobytes() for x, _ in itertools.islice(batches, count)]


def epochs(batches: GeneratedLoader, count: int) -> list[bytes]:
    found = []
    for epoch in range(count):
        batches.sampler.set_epoch(epoch)
        found += read(batches)
    return found


@pytest.fixture
def global_states() -> Iterator[None]:
    """Nothing in the test may draw from a global random number generator."""

    def states() -> tuple:
        return torch.get_rng_state().numpy().tobytes(), np.random.get_state()[1].tobytes(), random.getstate()  # noqa: NPY002

    before = states()
    yield
    assert states() == before


# --- what a batch depends on ---------------------------------------------------------------------------------------


@pytest.mark.usefixtures("global_states")
def test_no_global_random_number_is_drawn():
    data = made()
    epochs(data.train_dataloader(), 2)
    data.examples(5, torch.Generator().manual_seed(0))


def test_batches_do_not_depend_on_global_random_numbers(monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "3")
    found = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        found.append(epochs(made().train_dataloader(), 2))
    assert found[0] == found[1]


def test_no_batch_is_seen_twice_in_any_epoch_process_or_run(monkeypatch):
    found = []
    for run_seed, seed in itertools.product(("0", "1"), (0, 1)):
        monkeypatch.setenv("PL_GLOBAL_SEED", run_seed)
        found += epochs(made(seed=seed).train_dataloader(), 4)
    for rank in (1, 2):
        found += epochs(loader(rank=rank), 4)
    assert len(set(found)) == len(found) == 6 * 20


def test_batches_are_as_long_as_was_asked_for_and_independent_of_each_other():
    x = torch.cat([x for x, _ in itertools.islice(made(batch_size=2000, steps_per_epoch=50).train_dataloader(), 50)])
    assert x.shape == (100_000, 3)
    # Lengths of runs above the median tell whether neighbors, also across batches, are alike.
    high = (x[:, 0] > 0.5).double()
    agree = float((high[1:] == high[:-1]).double().mean())
    assert agree == pytest.approx(0.5, abs=5 * 0.5 / 100_000**0.5)
    means = x.view(50, 2000, 3).double().mean(1)
    assert float((means - 0.5).abs().max()) < 5 * (1 / 12 / 2000) ** 0.5


def test_a_batch_does_not_depend_on_how_many_belong_to_an_epoch():
    short, long = epochs(made(steps_per_epoch=3).train_dataloader(), 4), epochs(made().train_dataloader(), 3)
    assert short == long[:12]


def test_the_loader_resumes_once_in_the_middle():
    whole = epochs(loader(), 3)
    first = loader()
    first.sampler.set_epoch(1)
    read(first, 2)
    other = loader()
    other.load_state_dict(first.state_dict())
    assert read(other) == whole[7:10]
    other.sampler.set_epoch(1)  # one more than it was told at the last epoch
    assert read(other) == whole[10:15]


# --- the fixed sets ------------------------------------------------------------------------------------------------


def test_sets_follow_from_the_seed_alone_and_not_from_each_others_sizes(monkeypatch):
    first = made()
    monkeypatch.setenv("PL_GLOBAL_SEED", "9")
    torch.manual_seed(9)
    same = made(num_val=30, num_test=30, batch_size=9, steps_per_epoch=2)
    assert first.fingerprint() == same.fingerprint() != made(seed=1).fingerprint()
    larger_val = made(num_val=30)
    assert torch.equal(larger_val.test_set.take(7)[0], first.test_set.take(7)[0])
    assert torch.equal(made(num_test=30).val_set.take(6)[0], first.val_set.take(6)[0])
    assert [len(part) for part in (larger_val.train_set, larger_val.val_set, larger_val.test_set)] == [8192, 30, 7]


@pytest.mark.parametrize("seed", [0, 1])
def test_what_is_measured_was_never_trained_on(monkeypatch, seed):
    rows = []
    for data in (made(num_val=4000, num_test=4000, seed=seed),):
        rows += [part.take(len(part))[0] for part in (data.train_set, data.val_set, data.test_set)]
        for run_seed in range(4):  # small seeds are those that people take, and that a wrong mixture confuses
            monkeypatch.setenv("PL_GLOBAL_SEED", str(run_seed))
            batches = data.train_dataloader()
            batches.steps = 40
            rows += [x for x, _ in batches]
    x = torch.cat(rows)
    assert len(torch.unique(x, dim=0)) == len(x) == 8192 + 8000 + 4 * 40 * 4


def test_evaluation_goes_through_the_sets_in_their_order():
    data = made(eval_batch_size=4)
    for batches, part in (
        (data.val_dataloader(), data.val_set),
        (data.test_dataloader(), data.test_set),
        (data.predict_dataloader(), data.test_set),
    ):
        assert torch.equal(torch.cat([x for x, _ in batches]), part.take(len(part))[0])


def test_examples_are_fresh_and_follow_from_their_generator():
    data = made(instances=2)
    one, same, other = (data.examples(5, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2))
    assert one.shape == (5, 2, 3)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)
    known = torch.cat([part.take(9000)[0] for part in (data.train_set, data.val_set, data.test_set)])
    assert not bool((one[:, None] == known).all((-1, -2)).any())


def test_the_description_says_what_is_generated():
    assert made(num_val=4096).description == (
        "Uniform: samples of 3 generated for each step; 4,096 validation, 7 test samples"
    )
    assert "for each step, other ones for each of 2 instances; 6" in made(instances=2).description
    assert made().num_classes is None


@pytest.mark.parametrize("option", ["steps_per_epoch", "num_val", "num_test", "batch_size", "eval_batch_size"])
def test_nothing_can_be_empty(option):
    with pytest.raises(ConfigError, match=rf"^--data\.{option} is 0; it must be at least 1\.$"):
        Uniform(**{option: 0})


# --- in a fit ------------------------------------------------------------------------------------------------------


class Recorder(L.LightningModule):
    """Remembers what it was trained on, and learns the mean with momentum."""

    def __init__(self) -> None:
        super().__init__()
        self.mean = torch.nn.Parameter(torch.zeros(3))
        self.seen: list[bytes] = []

    def training_step(self, batch, batch_idx):
        self.seen += read([batch])
        return (batch[0] - self.mean).square().mean()

    def validation_step(self, batch, batch_idx):
        self.log("val", (batch[0] - self.mean).square().mean())

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1, momentum=0.9)


@pytest.fixture
def fit(make_trainer, tmp_path):
    """Train a recorder; a checkpoint after each step, or at the end of an epoch, is `run.ckpt`."""

    def run(*, ckpt_path=None, checkpoint=None, save_after=None, **options) -> Recorder:
        callbacks = [] if checkpoint is None else [ModelCheckpoint(tmp_path, "run", **checkpoint)]
        trainer = make_trainer(*callbacks, **options, **({"enable_checkpointing": True} if callbacks else {}))
        model = Recorder()
        trainer.fit(model, Uniform(), ckpt_path=ckpt_path, weights_only=True)
        if save_after:
            trainer.save_checkpoint(save_after)
        return model

    return run


EVERY_STEP = {"every_n_train_steps": 1}
EPOCH_END = {"save_on_train_epoch_end": True}


def test_a_fit_sees_the_batches_that_the_loader_gives_by_itself(fit, monkeypatch):
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")
    assert fit(max_epochs=3).seen == epochs(made().train_dataloader(), 3)


@pytest.mark.parametrize("limit", [3, 0.6])
def test_a_limit_leaves_out_the_rest_of_each_epoch(fit, limit):
    whole, limited = fit(max_epochs=3).seen, fit(max_epochs=3, limit_train_batches=limit).seen
    assert limited == [batch for number, batch in enumerate(whole) if number % 5 < 3]


def test_overfitting_means_the_same_batches_again_and_again(fit):
    first, seen = fit(max_epochs=1).seen, fit(max_epochs=3, overfit_batches=2).seen
    assert seen == 3 * first[:2]


@pytest.mark.parametrize("resume_by", ["max_epochs", "max_steps"])
@pytest.mark.parametrize(
    ("checkpoint", "stop", "options", "steps"),
    [
        pytest.param(EVERY_STEP, {"max_steps": 8}, {}, 20, id="inside an epoch"),
        pytest.param(EVERY_STEP, {"max_steps": 5}, {}, 20, id="last batch"),
        pytest.param(EPOCH_END, {"max_epochs": 2}, {}, 20, id="end of an epoch"),
        pytest.param(None, {"max_epochs": 2}, {}, 20, id="after fit"),
        pytest.param(EVERY_STEP, {"max_steps": 4}, {"limit_train_batches": 3}, 12, id="limited, inside"),
        pytest.param(EVERY_STEP, {"max_steps": 3}, {"limit_train_batches": 3}, 12, id="limited, last batch"),
        pytest.param(EVERY_STEP, {"max_steps": 4}, {"overfit_batches": 3}, 12, id="overfitting, inside"),
        pytest.param(EVERY_STEP, {"max_steps": 4}, {"accumulate_grad_batches": 2}, 12, id="accumulating"),
    ],
)
def test_a_resumed_fit_ends_as_an_uninterrupted_one(fit, tmp_path, checkpoint, stop, options, steps, resume_by):
    saved = str(tmp_path / "run.ckpt")
    whole = fit(max_epochs=4, **options)
    begun = fit(checkpoint=checkpoint, save_after=None if checkpoint else saved, **{"max_epochs": 9, **stop}, **options)
    until = {"max_epochs": 4} if resume_by == "max_epochs" else {"max_epochs": -1, "max_steps": steps}
    rest = fit(ckpt_path=saved, **until, **options)
    assert 0 < len(begun.seen) < len(whole.seen)
    assert begun.seen + rest.seen == whole.seen
    assert torch.equal(rest.mean, whole.mean)


@pytest.mark.parametrize("checkpoint", [EPOCH_END, None], ids=["last.ckpt", "after fit"])
def test_a_run_stopped_by_max_steps_goes_on_where_it_stopped(fit, tmp_path, checkpoint):
    # Lightning counts the broken epoch as done and calls it by the next number; the loader does not.
    saved = str(tmp_path / "run.ckpt")
    whole = fit(max_epochs=4)
    begun = fit(checkpoint=checkpoint, save_after=None if checkpoint else saved, max_epochs=9, max_steps=8)
    rest = fit(ckpt_path=saved, max_epochs=-1, max_steps=20)
    assert begun.seen + rest.seen == whole.seen
    assert torch.equal(rest.mean, whole.mean)
