import itertools
import math

import numpy as np
import pytest
from lightning.pytorch import Callback

from ae_lightning.callbacks.schedule import Clock, Schedule, moment_of
from ae_lightning.errors import ConfigError
from ae_lightning.models.overcomplete import OvercompleteAutoencoder
from ae_lightning.training.run_length import RunLength


def moments(schedule: Schedule, run: RunLength) -> list[int]:
    """Steps at which a schedule acts in a run that goes to its end."""
    steps = schedule.steps(run)
    first = [0] if 0 in steps else []
    return first + [step for step in range(1, int(run.total_steps) + 1) if schedule.due(step, run, steps)]


# --- a number of moments ---------------------------------------------------------------------------------------------

TOTALS = [0, 1, 2, 3, 5, 9, 10, 23, 100, 235, 9380]
COUNTS = [1, 2, 3, 4, 10, 24, 51, 236]


@pytest.mark.parametrize("spacing", ["linear", "log"])
@pytest.mark.parametrize(("first", "last"), list(itertools.product([True, False], repeat=2)))
def test_count_gives_exactly_so_many_moments_first_and_last_included(spacing, first, last):
    for total, count in itertools.product(TOTALS, COUNTS):
        run = RunLength(total, 10, 8)
        found = moments(Schedule(count=count, spacing=spacing, first=first, last=last), run)
        span = range(0 if first else 1, total + (1 if last else 0))
        assert len(found) == len(set(found)) == min(count, len(span)), (total, count)
        assert set(found) <= set(span), (total, count)
        if found and count > 1:
            assert (found[0], found[-1]) == (span[0], span[-1]), (total, count)


def test_thousands_of_moments_are_spread_too():
    run = RunLength(60_000, 100, 8)
    steps = sorted(Schedule(count=20_000, spacing="log").steps(run))
    assert (len(steps), steps[0], steps[-1]) == (20_000, 0, 60_000)
    gaps = np.diff(steps)
    assert gaps[:9_000].max() < gaps[-1_000:].min()  # denser at the start


def test_a_single_moment_is_the_last():
    assert moments(Schedule(count=1), RunLength(40, 10, 8)) == [40]
    assert moments(Schedule(count=1, last=False), RunLength(40, 10, 8)) == [0]


def test_linear_moments_are_evenly_spaced():
    assert moments(Schedule(count=5), RunLength(100, 10, 8)) == [0, 25, 50, 75, 100]
    gaps = np.diff(moments(Schedule(count=51), RunLength(211, 211, 256)))
    assert set(gaps) == {4, 5}


def test_log_moments_are_denser_at_the_start():
    found = moments(Schedule(count=5, spacing="log"), RunLength(1000, 10, 8))
    assert found == [0, 1, 10, 100, 1000]
    gaps = np.diff(moments(Schedule(count=20, spacing="log"), RunLength(9380, 10, 8)))
    assert (np.diff(gaps) >= 0).all()


@pytest.mark.parametrize("spacing", ["linear", "log"])
def test_count_needs_a_known_end(spacing):
    with pytest.raises(ConfigError, match=r"5 moments cannot be spread .* --trainer\.max_epochs or"):
        Schedule(count=5, spacing=spacing).steps(RunLength(math.inf, 10, 8))


# --- every so often --------------------------------------------------------------------------------------------------


def test_every_few_steps():
    assert moments(Schedule(every=4, unit="steps"), RunLength(10, 5, 8)) == [0, 4, 8, 10]
    assert moments(Schedule(every=4, unit="steps", first=False), RunLength(10, 5, 8)) == [4, 8, 10]
    assert moments(Schedule(every=4, unit="steps", last=False), RunLength(10, 5, 8)) == [0, 4, 8]
    assert moments(Schedule(every=5, unit="steps", last=False), RunLength(10, 5, 8)) == [0, 5, 10]


def test_every_epoch_is_its_last_step():
    assert moments(Schedule(every=1), RunLength(18, 6, 256)) == [0, 6, 12, 18]
    assert moments(Schedule(every=2), RunLength(18, 6, 256)) == [0, 12, 18]
    assert moments(Schedule(every=0.5), RunLength(12, 6, 256)) == [0, 3, 6, 9, 12]


def test_every_so_many_images_is_the_first_step_that_reaches_them():
    # 256 a step: 1,000 images are reached by step 4, 2,000 by step 8, 3,000 by step 12.
    assert moments(Schedule(every=1000, unit="images", last=False), RunLength(13, 6, 256)) == [0, 4, 8, 12]


@pytest.mark.parametrize("unit", ["epochs", "steps", "images"])
def test_each_multiple_is_met_once_at_the_first_step_that_reaches_it(unit):
    batch, total = 100, 40
    for per_epoch, every in itertools.product([1, 3, 7, 211], [0.1, 1 / 3, 1, 2.5, 7, 1000]):
        run = RunLength(total, per_epoch, batch)
        found = moments(Schedule(every=every, unit=unit, first=False, last=False), run)
        units_per_step = {"epochs": 1 / per_epoch, "steps": 1, "images": batch}[unit]
        # The k-th multiple is reached by step ⌈k · every / units_per_step⌉; several may fall into one step.
        multiples = range(1, int(total * units_per_step / every + 1e-6) + 1)
        reached = sorted({math.ceil(k * every / units_per_step - 1e-6) for k in multiples})
        assert found == [step for step in reached if step <= total], (per_epoch, every)


def test_every_needs_no_known_end_and_acts_at_the_last_step_only_where_that_is_known():
    endless = RunLength(math.inf, 6, 256)
    schedule = Schedule(every=1)
    steps = schedule.steps(endless)
    assert [s for s in range(20) if schedule.due(s, endless, steps)] == [0, 6, 12, 18]


def test_every_and_count_add_up():
    run = RunLength(total_steps=10, steps_per_epoch=4, images_per_step=1)
    schedule = Schedule(every=1, unit="epochs", count=3)
    steps = schedule.steps(run)
    assert [step for step in range(11) if schedule.due(step, run, steps)] == [0, 4, 5, 8, 10]


def test_neither_means_first_and_last():
    assert moments(Schedule(), RunLength(7, 3, 8)) == [0, 7]
    assert moments(Schedule(first=False, last=False), RunLength(7, 3, 8)) == []


# --- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"every": 0}, "`every` must be above 0, not 0"),
        ({"every": -2, "unit": "steps"}, "`every` must be above 0, not -2"),
        ({"count": 0}, "`count` must be at least 1, not 0"),
    ],
)
def test_mistakes_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        Schedule(**options)


# --- the clock in a fit ----------------------------------------------------------------------------------------------


class Ticks(Callback):
    def __init__(self, schedule: Schedule) -> None:
        self.clock = Clock(schedule)
        self.steps: list[int] = []
        self.moments: list[dict[str, int]] = []

    def on_train_start(self, trainer, pl_module) -> None:
        if self.clock.start(trainer):
            self.steps.append(trainer.global_step)

    def on_train_batch_end(self, trainer, pl_module, *args) -> None:
        if self.clock.ticks(trainer):
            self.steps.append(trainer.global_step)
            self.moments.append(moment_of(trainer, pl_module))


def run(schedule, make_trainer, data, ckpt_path=None, **options):
    ticks = Ticks(schedule)
    trainer = make_trainer(ticks, **options)
    trainer.fit(OvercompleteAutoencoder((1, 8, 8), 3), data, ckpt_path=ckpt_path, weights_only=True)
    return ticks, trainer


@pytest.mark.parametrize(
    ("schedule", "options", "expected"),
    [
        (Schedule(every=1), {"max_epochs": 2}, [0, 6, 12]),
        (Schedule(count=3), {"max_epochs": 2}, [0, 6, 12]),
        (Schedule(count=3), {"max_epochs": 2, "max_steps": 8}, [0, 4, 8]),
        (Schedule(count=3), {"max_epochs": -1, "max_steps": 8}, [0, 4, 8]),
        (Schedule(count=3), {"limit_train_batches": 4}, [0, 2, 4]),
        # Six batches make two steps of three, or of four and two.
        (Schedule(every=1), {"max_epochs": 2, "accumulate_grad_batches": 3}, [0, 2, 4]),
        (Schedule(every=1, unit="steps"), {"max_epochs": 2, "accumulate_grad_batches": 4}, [0, 1, 2, 3, 4]),
        (Schedule(every=1500, unit="images", last=False), {"max_epochs": 2, "accumulate_grad_batches": 3}, [0, 2, 4]),
    ],
)
def test_moments_in_a_fit(schedule, options, expected, make_trainer, digits):
    ticks, _ = run(schedule, make_trainer, digits, **options)
    assert ticks.steps == expected


def test_a_resumed_fit_keeps_the_moments_of_the_whole_run(make_trainer, digits, tmp_path):
    schedule = Schedule(count=5)  # 0, 6, 12, 18, 24
    whole, _ = run(schedule, make_trainer, digits, max_epochs=4)
    _, trainer = run(schedule, make_trainer, digits, max_epochs=2)
    trainer.save_checkpoint(tmp_path / "half.ckpt")
    rest, _ = run(schedule, make_trainer, digits, tmp_path / "half.ckpt", max_epochs=4)
    assert whole.steps == [0, 6, 12, 18, 24]
    assert rest.steps == [18, 24]


def test_a_moment_is_recorded_in_all_units(make_trainer, digits):
    ticks, _ = run(Schedule(every=4, unit="steps"), make_trainer, digits, max_epochs=2)
    assert ticks.moments == [
        {"step": 4, "epoch": 0, "images_seen": 4 * 256},
        {"step": 8, "epoch": 1, "images_seen": 1293 + 2 * 256},
        {"step": 12, "epoch": 1, "images_seen": 2 * 1293},
    ]


def test_run_length_is_measured_in_a_fit(make_trainer, digits):
    ticks, _ = run(Schedule(), make_trainer, digits, max_epochs=3, accumulate_grad_batches=4)
    assert ticks.clock._run == RunLength(total_steps=6, steps_per_epoch=2, images_per_step=1024)
