"""How far a harvest is: a bar on a terminal, else a line now and then."""

import contextlib
import math
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from ae_lightning.harvesting.collect import Reached

Tell = Callable[["Reached"], None]

_LINE_EVERY = 30.0  # seconds


class _Pace:
    """Rows a second, and the seconds that are left, since the first batch that the network was run for."""

    def __init__(self, doing: str) -> None:
        self._doing = doing
        self._start: tuple[float, Reached] | None = None

    def of(self, reached: "Reached", now: float) -> str:
        if self._start is None:
            if reached.computed:
                self._start = now, reached
            return f"{self._doing}{reached.rows:,} rows"
        before, first = self._start
        seconds = max(now - before, 1e-9)
        told = f"{self._doing}{reached.rows:,} rows, {(reached.computed - first.computed) / seconds:,.0f} a second"
        done = reached.part - first.part
        if math.isnan(done) or done <= 0:
            return told
        return f"{told}, {_duration(seconds * (1 - reached.part) / done)} left"


@contextlib.contextmanager
def telling(doing: str = "") -> Iterator[Tell]:
    """Show how far it is: a bar on a terminal, else a line every half minute.

    Args:
        doing: What is being done, before the numbers.

    Yields:
        What is to be called after each batch.
    """
    from rich.console import Console

    console, pace = Console(stderr=True), _Pace(doing)
    if console.is_terminal:
        with _bar(console, pace) as show:
            yield show
        return
    last = time.monotonic()

    def line(reached: "Reached") -> None:
        nonlocal last
        now = time.monotonic()
        told = pace.of(reached, now)
        if now - last >= _LINE_EVERY:
            last = now
            print(told, file=sys.stderr)

    yield line


@contextlib.contextmanager
def _bar(console: "Console", pace: _Pace) -> Iterator[Tell]:
    from rich.progress import BarColumn, Progress, TextColumn

    columns = (BarColumn(20), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("", total=1.0)

        def show(reached: "Reached") -> None:
            told = pace.of(reached, time.monotonic())
            if math.isnan(reached.part):  # the bar then only says that work goes on
                bar.update(task, total=None, description=told)
            else:
                bar.update(task, completed=reached.part, description=told)

        yield show


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
