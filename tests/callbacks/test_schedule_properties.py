"""Schedules against counting: every moment of a run is walked through one by one."""

import math
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ae_lightning.callbacks.schedule import Schedule
from ae_lightning.training.run_length import RunLength

RUNS = st.builds(
    lambda epochs, steps, images: RunLength(epochs * steps, steps, images),
    st.integers(1, 30), st.integers(1, 20), st.integers(1, 300),
)  # fmt: skip
SPACINGS = st.sampled_from(["linear", "log"])


def moments(schedule, run):
    """All completed steps at which the schedule acts, from 0 to the end of the run."""
    steps = schedule.steps(run)
    return [step for step in range(int(run.total_steps) + 1) if schedule.due(step, run, steps)]


@given(RUNS, st.integers(1, 400), SPACINGS, st.booleans(), st.booleans())
def test_as_many_moments_as_asked_for_or_as_there_are(run, count, spacing, first, last):
    found = sorted(Schedule(count=count, spacing=spacing, first=first, last=last).steps(run))
    low, high = (0 if first else 1), run.total_steps - (0 if last else 1)
    assert all(low <= step <= high for step in found)
    assert len(found) == min(count, max(0, high - low + 1))
    if len(found) > 1:
        assert (found[0], found[-1]) == (low, high)
    elif len(found) == 1:
        assert found[0] in (low, high)


@given(RUNS, st.integers(3, 40))
def test_even_moments_are_evenly_apart(run, count):
    found = sorted(Schedule(count=count).steps(run))
    gaps = [b - a for a, b in pairwise(found)]
    if len(found) == count:
        assert max(gaps) - min(gaps) <= 1 or max(gaps) <= math.ceil(run.total_steps / (count - 1))
        assert min(gaps) >= math.floor(run.total_steps / (count - 1))


@given(RUNS, st.integers(4, 40))
def test_log_moments_are_denser_at_the_start(run, count):
    found = sorted(Schedule(count=count, spacing="log").steps(run))
    middle = run.total_steps / 2
    assert sum(step <= middle for step in found) >= sum(step > middle for step in found)


@given(RUNS, st.integers(1, 700))
def test_every_so_many_steps_is_counted_off(run, every):
    schedule = Schedule(every=every, unit="steps", first=False, last=False)
    assert moments(schedule, run) == list(range(every, int(run.total_steps) + 1, every))


@given(RUNS, st.integers(1, 40))
def test_every_so_many_epochs_is_at_their_ends(run, every):
    schedule = Schedule(every=every, unit="epochs", first=False, last=False)
    stride = int(every * run.steps_per_epoch)
    assert moments(schedule, run) == list(range(stride, int(run.total_steps) + 1, stride))


@given(RUNS, st.integers(1, 5000))
def test_every_so_many_images_is_at_the_first_step_that_has_seen_them(run, every):
    schedule = Schedule(every=every, unit="images", first=False, last=False)
    wanted, passed = [], 0
    for step in range(1, int(run.total_steps) + 1):
        if step * run.images_per_step // every > passed:
            wanted.append(step)
        passed = step * run.images_per_step // every
    assert moments(schedule, run) == wanted


@given(RUNS, st.integers(1, 20), st.sampled_from([2, 4, 5, 10]))
def test_parts_of_an_epoch_are_met_as_exactly_as_steps_allow(run, whole, part):
    """1/part of an epoch, many times over: what float64 makes of the fraction must not lose or add a moment."""
    schedule = Schedule(every=whole / part, unit="epochs", first=False, last=False)
    numbers = [step * part // (whole * run.steps_per_epoch) for step in range(int(run.total_steps) + 1)]
    assert moments(schedule, run) == [step for step in range(1, len(numbers)) if numbers[step] > numbers[step - 1]]


@given(RUNS, st.integers(1, 50), st.booleans(), st.booleans())
def test_the_first_and_the_last_moment_are_taken_if_wanted(run, every, first, last):
    found = moments(Schedule(every=every, unit="steps", first=first, last=last), run)
    assert (0 in found) == first
    assert (run.total_steps in found) == (last or run.total_steps % every == 0)
