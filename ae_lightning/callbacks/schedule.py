"""When a callback acts: in epochs, optimizer steps or images seen, every so often or a number of times."""

import math
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from lightning.pytorch import LightningModule, Trainer

from ae_lightning.errors import ConfigError
from ae_lightning.training.run_length import RunLength


@dataclass(frozen=True)
class Schedule:
    """When to act: `every` so many units, `count` times over the run, or at the moments of both together.

    Args:
        every: Act each time this many `unit`s have passed.
        unit: What `every` counts: epochs, optimizer steps, or images seen.
        count: Act this many times over the whole run, first and last moment included; a single time is the last.
        spacing: How `count` moments are spread over the steps: evenly, or denser at the start.
        first: Act before the first step too.
        last: Act after the last step too, also when the run ends early.
    """

    every: float | None = None
    unit: Literal["epochs", "steps", "images"] = "epochs"
    count: int | None = None
    spacing: Literal["linear", "log"] = "linear"
    first: bool = True
    last: bool = True

    def __post_init__(self) -> None:
        if self.every is not None and self.every <= 0:
            raise ConfigError(f"a schedule's `every` must be above 0, not {self.every:g}")
        if self.count is not None and self.count < 1:
            raise ConfigError(f"a schedule's `count` must be at least 1, not {self.count}")

    def steps(self, run: RunLength) -> frozenset[int]:
        """Numbers of completed optimizer steps at which to act, the first and last moments included if wanted.

        Raises:
            ConfigError: `count` moments are asked of a run that has no known end.
        """
        total = run.total_steps
        if self.count is not None:
            return frozenset(self._counted(total))
        chosen = {0} if self.first else set()
        if self.last and math.isfinite(total):
            chosen.add(int(total))
        return frozenset(chosen)

    def _counted(self, total: float) -> set[int]:
        assert self.count is not None
        if not math.isfinite(total):
            raise ConfigError(
                f"{self.count} moments cannot be spread over a run without a known end: set --trainer.max_epochs or "
                "--trainer.max_steps, or give the schedule `every` instead of `count`"
            )
        first, last = (0 if self.first else 1), int(total) - (0 if self.last else 1)
        if self.count == 1 and first <= last:
            return {last if self.last else first}
        return _spread(first, last, self.count, self.spacing)

    def due(self, step: int, run: RunLength, steps: frozenset[int]) -> bool:
        """Tell whether to act now that `step` optimizer steps are completed (`steps` as given by `steps`)."""
        return step in steps or (step > 0 and self.every is not None and self._crosses(step, run))

    def _crosses(self, step: int, run: RunLength) -> bool:
        # A moment is due at the first step that reaches a multiple of `every`.
        assert self.every is not None
        units = {"steps": 1.0, "images": float(run.images_per_step), "epochs": 1.0 / run.steps_per_epoch}
        per_step = units[self.unit]
        slack = 1e-9
        return math.floor(step * per_step / self.every + slack) > math.floor((step - 1) * per_step / self.every + slack)


def _spread(first: int, last: int, count: int, spacing: str) -> set[int]:
    """Up to `count` whole numbers from `first` to `last`, both included.

    Rounding makes the early moments of a log spacing coincide; the spacing is refined until `count` distinct ones
    are found, or every step is taken.
    """
    if last - first + 1 <= count:
        return set(range(first, last + 1))
    if spacing == "linear" or count == 2:
        return {round(float(step)) for step in np.linspace(first, last, count)}
    points = max(count - 1, 2)
    while points < 50 * count:
        found = {first} | {round(float(step)) for step in np.geomspace(max(first, 1), last, points)}
        if len(found) >= count:
            break
        points += max(1, points // 100)  # one by one, a large count would take minutes
    ordered = sorted(found)
    kept = np.linspace(0, len(ordered) - 1, min(count, len(ordered)))
    return {ordered[round(float(place))] for place in kept}


@dataclass
class Clock:
    """A schedule put to work in a callback: asks, at the end of each batch, whether a moment has come.

    It answers once for each optimizer step, so accumulated batches do not count, and carries on in a resumed run.
    """

    schedule: Schedule
    _run: RunLength = field(default_factory=lambda: RunLength(0, 1, 1))
    _steps: frozenset[int] = frozenset()
    _last_step: int = -1

    def start(self, trainer: Trainer) -> bool:
        """Measure the run; tell whether to act before its first step. Call in `on_train_start`."""
        self._run = RunLength.of(trainer)
        self._steps = self.schedule.steps(self._run)
        self._last_step = trainer.global_step
        return trainer.global_step == 0 and 0 in self._steps

    def ticks(self, trainer: Trainer) -> bool:
        """Tell whether to act now. Call in `on_train_batch_end`."""
        step = trainer.global_step
        if step == self._last_step:
            return False
        self._last_step = step
        return self.schedule.due(step, self._run, self._steps)

    def at_end(self, trainer: Trainer) -> bool:
        """Tell whether the last step the run was planned for is done."""
        return trainer.global_step >= self._run.total_steps


def moment_of(trainer: Trainer, module: LightningModule) -> dict[str, Any]:
    """The present moment in all three units, as snapshots record it."""
    return {
        "step": trainer.global_step,
        "epoch": trainer.current_epoch,
        "images_seen": int(getattr(module, "images_seen", 0)),
    }
