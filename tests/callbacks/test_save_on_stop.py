import contextlib
import os
import signal
import threading
from pathlib import Path

import pytest
import safetensors.torch
import torch
from lightning.pytorch import Callback

from ae_lightning.callbacks.initial_validation import InitialValidation
from ae_lightning.callbacks.run_checkpoints import RunCheckpoints
from ae_lightning.callbacks.save_on_stop import SaveOnStop
from ae_lightning.callbacks.schedule import Schedule
from ae_lightning.callbacks.snapshots import WeightSnapshots
from ae_lightning.data.digits import DigitsDataModule
from ae_lightning.errors import Stopped
from ae_lightning.models.overcomplete import OvercompleteAutoencoder
from ae_lightning.run.loggers import run_loggers
from ae_lightning.run.tables import read_rows


class Noisy(OvercompleteAutoencoder):
    """Draws random numbers at every step, so that a lost random state shows."""

    def encode(self, x: torch.Tensor) -> torch.Tensor:
        return super().encode(x + 0.1 * torch.randn_like(x) if self.training else x)


class CtrlC(Callback):
    """Sends this process a signal at a certain batch of the run, before or after its step, or in validation."""

    def __init__(self, batch: int | None, when: str = "before the step", number: int = signal.SIGINT) -> None:
        self.batch = batch
        self.when = when
        self.number = number
        self.batches = 0

    def _press(self, when: str) -> None:
        if when == self.when and self.batches == self.batch:
            os.kill(os.getpid(), self.number)

    def on_before_optimizer_step(self, *args) -> None:
        self._press("in the step")

    def on_train_batch_start(self, *args) -> None:
        self.batches += 1
        self._press("before the step")

    def on_train_batch_end(self, *args) -> None:
        self._press("after the step")

    def on_validation_batch_start(self, *args) -> None:
        self._press("in validation")


def fit(folder: Path, make_trainer, *callbacks: Callback, ckpt: Path | None = None, **options):
    torch.manual_seed(0)
    model = Noisy((1, 8, 8), 70)
    step = torch.load(ckpt, weights_only=True)["global_step"] if ckpt else None
    keep = RunCheckpoints(folder / "checkpoints", "best", monitor="val/loss", save_last=True)
    trainer = make_trainer(
        InitialValidation(),
        WeightSnapshots(Schedule(every=1, unit="steps")),
        keep,
        *callbacks,
        SaveOnStop(),
        logger=run_loggers(folder, step),
        enable_checkpointing=True,
        log_every_n_steps=2,
        **options,
    )
    data = DigitsDataModule(batch_size=256)
    with contextlib.suppress(Stopped):
        trainer.fit(model, data, ckpt_path=ckpt, weights_only=True)
    return trainer, model


def snapshots(folder: Path) -> dict[str, dict[str, torch.Tensor]]:
    return {path.name: safetensors.torch.load_file(path) for path in (folder / "snapshots").glob("*.safetensors")}


def assert_same_run(folder: Path, other: Path) -> None:
    ours, theirs = snapshots(folder), snapshots(other)
    assert ours.keys() == theirs.keys()
    for name, tensors in ours.items():
        for key, value in tensors.items():
            assert torch.equal(value, theirs[name][key]), (name, key)
    assert (folder / "snapshots" / "index.json").read_text() == (other / "snapshots" / "index.json").read_text()
    rows = [{k: v for k, v in row.items() if v} for row in read_rows(folder / "metrics.csv")]
    other_rows = [{k: v for k, v in row.items() if v} for row in read_rows(other / "metrics.csv")]
    assert rows == other_rows


# Six batches an epoch, two epochs. The step at which the run should have been saved stands last.
@pytest.mark.parametrize(
    ("batch", "when", "accumulate", "saved_step"),
    [
        (1, "before the step", 1, 1),
        (3, "before the step", 1, 3),
        (3, "in the step", 1, 3),
        (3, "after the step", 1, 3),
        (5, "in the step", 1, 5),
        (6, "in the step", 1, 7),  # validation comes first, and then one batch of the next epoch
        (6, "after the step", 1, 7),
        (6, "in validation", 1, 7),
        (11, "in the step", 1, 11),
        # Steps after batches 4 and 6, 10 and 12: one that waits for the rest of its gradients is finished first.
        (2, "before the step", 4, 1),
        (4, "in the step", 4, 1),
        (7, "after the step", 4, 3),
    ],
)
def test_an_interrupted_run_goes_on_as_if_it_had_not_been(batch, when, accumulate, saved_step, make_trainer, tmp_path):
    options = {"max_epochs": 2, "accumulate_grad_batches": accumulate}
    whole, broken = tmp_path / "whole" / "version_0", tmp_path / "broken" / "version_0"
    _, expected = fit(whole, make_trainer, **options)

    trainer, _ = fit(broken, make_trainer, CtrlC(batch, when), **options)
    last = broken / "checkpoints" / "last.ckpt"
    assert trainer.interrupted
    assert trainer.global_step == torch.load(last, weights_only=True)["global_step"] == saved_step
    trainer, found = fit(broken, make_trainer, ckpt=last, **options)
    assert trainer.current_epoch == 2
    for name, value in expected.state_dict().items():
        assert torch.equal(value, found.state_dict()[name]), name
    assert found.images_seen == expected.images_seen
    assert_same_run(broken, whole)


def test_an_interrupt_in_the_last_step_of_all_lets_the_run_finish(make_trainer, tmp_path):
    trainer, _ = fit(tmp_path / "run" / "version_0", make_trainer, CtrlC(6, "in the step"))
    assert not trainer.interrupted
    assert trainer.global_step == 6


@pytest.mark.parametrize("max_steps", [3, 6, 8])
def test_a_run_that_max_steps_ends_can_be_made_longer(max_steps, make_trainer, tmp_path):
    whole, short = tmp_path / "whole" / "version_0", tmp_path / "short" / "version_0"
    _, expected = fit(whole, make_trainer, max_epochs=2)
    fit(short, make_trainer, max_epochs=2, max_steps=max_steps)
    last = short / "checkpoints" / "last.ckpt"
    assert torch.load(last, weights_only=True)["global_step"] == max_steps
    _, found = fit(short, make_trainer, ckpt=last, max_epochs=2)
    for name, value in expected.state_dict().items():
        assert torch.equal(value, found.state_dict()[name]), name
    assert snapshots(short).keys() == snapshots(whole).keys()


def test_a_run_that_a_callback_ends_within_an_epoch_goes_on(make_trainer, tmp_path):
    """As `max_time` does, by a Timer."""

    class Enough(Callback):
        def on_train_batch_end(self, trainer, *args) -> None:
            trainer.should_stop = trainer.global_step == 9

    whole, short = tmp_path / "whole" / "version_0", tmp_path / "short" / "version_0"
    _, expected = fit(whole, make_trainer, max_epochs=2)
    fit(short, make_trainer, Enough(), max_epochs=2)
    last = short / "checkpoints" / "last.ckpt"
    for name in ("last.ckpt", "best.ckpt"):  # which is validated where it stops
        assert torch.load(last.with_name(name), weights_only=True)["global_step"] == 9
    _, found = fit(short, make_trainer, ckpt=last, max_epochs=2)
    for name, value in expected.state_dict().items():
        assert torch.equal(value, found.state_dict()[name]), name
    assert snapshots(short).keys() == snapshots(whole).keys()


@pytest.mark.parametrize("second", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
def test_a_second_signal_stops_at_once(second, make_trainer, tmp_path):
    class Twice(Callback):
        def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
            if batch_idx == 2:
                os.kill(os.getpid(), signal.SIGINT)
                os.kill(os.getpid(), second)

    folder = tmp_path / "run" / "version_0"
    trainer, _ = fit(folder, make_trainer, Twice())
    assert trainer.interrupted
    assert trainer.global_step == 2
    assert not (folder / "checkpoints" / "last.ckpt").exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["Ctrl-C", "SIGTERM"])
@pytest.mark.parametrize("ends_by", ["finishing", "a signal", "an error"])
def test_the_signals_are_given_back(ends_by, number, make_trainer, tmp_path):
    class Fails(Callback):
        def on_train_batch_end(self, *args) -> None:
            raise ZeroDivisionError

    def handler(*args) -> None:
        raise AssertionError("called")

    before = signal.signal(number, handler)
    try:
        folder = tmp_path / "run" / "version_0"
        if ends_by == "an error":
            with pytest.raises(ZeroDivisionError):
                fit(folder, make_trainer, Fails())
        else:
            trainer, _ = fit(folder, make_trainer, CtrlC(2 if ends_by == "a signal" else None, number=number))
            assert trainer.interrupted == (ends_by == "a signal")
        assert signal.getsignal(number) is handler
    finally:
        signal.signal(number, before)


def test_one_callback_serves_a_second_fit_after_an_interrupted_one(make_trainer, digits, tmp_path):
    stop = SaveOnStop()
    with pytest.raises(Stopped):
        make_trainer(CtrlC(2), stop, enable_checkpointing=True).fit(OvercompleteAutoencoder((1, 8, 8), 3), digits)
    assert stop.saved is not None
    trainer = make_trainer(stop, enable_checkpointing=True)
    trainer.fit(OvercompleteAutoencoder((1, 8, 8), 3), digits)
    assert trainer.global_step == 6
    assert stop.saved is None


def test_in_another_thread_it_does_without_the_signal(make_trainer, digits):
    trainer = make_trainer(SaveOnStop(), enable_checkpointing=True)
    failures: list[BaseException] = []

    def work() -> None:
        try:
            trainer.fit(OvercompleteAutoencoder((1, 8, 8), 3), digits)
        except BaseException as error:
            failures.append(error)

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert failures == []
    assert trainer.global_step == 6
    assert signal.getsignal(signal.SIGINT) is before
