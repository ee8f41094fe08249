from typing import ClassVar

import pytest
from lightning.pytorch import Callback

from ae_lightning.callbacks import throughput
from ae_lightning.callbacks.throughput import Throughput
from ae_lightning.models.overcomplete import OvercompleteAutoencoder


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on by exactly 2 seconds each time it is read."""

    class Clock:
        now = 0.0

        def perf_counter(self) -> float:
            self.now += 2.0
            return self.now

    monkeypatch.setattr(throughput, "time", Clock())


def test_it_is_the_images_since_the_last_row_divided_by_the_time(make_trainer, recorder, digits, clock):
    make_trainer(Throughput(), logger=recorder, max_epochs=2, log_every_n_steps=2).fit(
        OvercompleteAutoencoder((1, 8, 8), 5), digits
    )
    # The clock is read once to start it, and twice in each row: 2 s from one row's end to the next one's.
    assert recorder.series("speed/images_per_s") == {
        2: 512 / 2,
        4: 512 / 2,
        6: (256 + 13) / 2,
        8: 512 / 2,
        10: 512 / 2,
        12: (256 + 13) / 2,
    }


def test_accumulated_batches_count_and_make_one_row(make_trainer, recorder, digits, clock):
    make_trainer(Throughput(), logger=recorder, accumulate_grad_batches=3).fit(
        OvercompleteAutoencoder((1, 8, 8), 5), digits
    )
    assert recorder.series("speed/images_per_s") == {1: 768 / 2, 2: (512 + 13) / 2}


def test_a_resumed_run_counts_its_own_images_only(make_trainer, recorder, digits, clock, tmp_path):
    model = OvercompleteAutoencoder((1, 8, 8), 5)
    trainer = make_trainer(Throughput())
    trainer.fit(model, digits)
    trainer.save_checkpoint(tmp_path / "a.ckpt")
    make_trainer(Throughput(), logger=recorder, max_epochs=2).fit(
        OvercompleteAutoencoder((1, 8, 8), 5), digits, ckpt_path=tmp_path / "a.ckpt", weights_only=True
    )
    assert recorder.series("speed/images_per_s")[7] == 256 / 2


def test_the_seconds_of_training_are_logged_at_its_end_and_go_on_in_a_resumed_run(
    make_trainer, recorder, digits, clock, tmp_path
):
    trainer = make_trainer(Throughput(), logger=recorder, log_every_n_steps=2)
    trainer.fit(OvercompleteAutoencoder((1, 8, 8), 5), digits)
    # The clock is read at the start, twice in each of three rows, and at the end: seven steps of 2 s after the start.
    assert recorder.series("speed/train_seconds") == {6: 14.0}
    trainer.save_checkpoint(tmp_path / "a.ckpt")  # the clock stands still now

    resumed = make_trainer(Throughput(), logger=recorder, log_every_n_steps=2, max_epochs=2)
    resumed.fit(OvercompleteAutoencoder((1, 8, 8), 5), digits, ckpt_path=tmp_path / "a.ckpt", weights_only=True)
    assert recorder.series("speed/train_seconds") == {6: 14.0, 12: 28.0}


def test_a_checkpoint_in_the_middle_of_training_knows_its_own_fits_seconds_up_to_it(make_trainer, digits, clock):
    class Spy(Callback):
        seconds: ClassVar[list[float]] = []

        def on_train_batch_end(self, trainer, *args):
            if trainer.global_step in (3, 5):
                self.seconds.append(throughput.state_dict()["seconds"])

    throughput = Throughput()
    for _ in range(2):  # the second fit knows nothing of the first
        make_trainer(throughput, Spy(), log_every_n_steps=100).fit(OvercompleteAutoencoder((1, 8, 8), 5), digits)
    assert Spy.seconds == [2.0, 4.0, 2.0, 4.0]
