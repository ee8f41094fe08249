"""Coefficients that move over a run: one mechanism for weights of terms, k, exponents and the like."""

import math
from collections.abc import Sequence
from typing import Literal, TypedDict

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor

from ae_lightning.errors import ConfigError
from ae_lightning.training.run_length import RunLength
from ae_lightning.training.trainer import trainer_of


class Ramp(TypedDict, total=False):
    """A way from `start` to `end`; before `begin` the value is `start`, from `until` on it is `end`.

    It is a plain dict, so that configs and checkpoints hold it as it is.
    """

    start: float  #: Value up to `begin`; must be given.
    end: float  #: Value from `until` on; must be given.
    begin: float  #: Where it starts to move; 0 unless given.
    until: float  #: Where it has arrived; the end of the run unless given.
    unit: Literal["fraction", "steps"]  #: What these two are: parts of the run (the default), or optimizer steps.
    shape: Literal["linear", "cosine"]  #: A straight line (the default), or half a wave, which starts and ends flat.


class Coefficient:
    """The value of an option that is a number, a `Ramp`, or a number for each instance, at each step of a run.

    Evaluation always has the final value, so that losses of different epochs can be compared.

    Args:
        name: Name of the option, for messages, such as penalty_weight.
        option: The number, the ramp, or a list with a number for each instance.
        least: Lowest value that it may take.
        most: Highest value that it may take.

    Raises:
        ConfigError: A value lies outside, or the ramp is none.
    """

    def __init__(
        self, name: str, option: float | Sequence[float] | Ramp, least: float = 0.0, most: float = math.inf
    ) -> None:
        self.name = name
        self._each: Tensor | None = None
        self._placed: Tensor | None = None  # the same, beside the weights
        if isinstance(option, (list, tuple)):
            for number, value in enumerate(option):
                _check_value(f"--model.{name} of instance {number}", value, least, most)
            self._each = torch.tensor(option, dtype=torch.float64, device="cpu")
            option = float(self._each.mean())
        self.ramp = option if isinstance(option, dict) else Ramp(start=option, end=option)  # type: ignore[typeddict-item]
        self.moves = isinstance(option, dict)
        if self.moves:
            _check_keys(name, self.ramp)
        for key in ("start", "end"):
            option_name = f"--model.{name}.{key}" if self.moves else f"--model.{name}"
            _check_value(option_name, self.ramp[key], least, most)
        #: The value in the end; where instances have their own, their mean.
        self.final = self.ramp["end"]
        self.unit = self.ramp.get("unit", "fraction")
        self.begin = self.ramp.get("begin", 0)
        self.until = self.ramp.get("until", 1 if self.unit == "fraction" else math.inf)
        if self.moves:
            self._check_span()

    @property
    def differs(self) -> bool:
        """Whether instances have values of their own."""
        return self._each is not None

    def at(self, step: int, total_steps: float) -> float:
        """The value for the step that follows `step` completed ones, in a run of so many."""
        if not self.moves:
            return self.final
        part = self.part(step, total_steps)
        return self.ramp["start"] * (1 - part) + self.final * part

    def part(self, step: int, total_steps: float) -> float:
        """How much of the way from start to end is done then, from 0 to 1."""
        begin, until = self._span(total_steps)
        part = min(1.0, max(0.0, (step - begin) / (until - begin)))
        return (1 - math.cos(math.pi * part)) / 2 if self.ramp.get("shape") == "cosine" else part

    def present(self, module: LightningModule) -> float | Tensor:
        """The value at the present step where a module is being trained; the final one everywhere else.

        Where instances have their own, it is (instances,), on the device of the module's weights. What is to be a step
        is computed with gradients, as `Autoencoder.warmed_up` says.
        """
        if self._each is not None:
            weights = next(module.parameters())
            wide = torch.promote_types(weights.dtype, torch.float32)
            if self._placed is None or (self._placed.device, self._placed.dtype) != (weights.device, wide):
                self._placed = self._each.to(weights.device, wide)  # it is kept, since a copy waits for the device
            return self._placed
        trainer = trainer_of(module) if self.moves else None
        if trainer is None or not trainer.training or not torch.is_grad_enabled():
            return self.final
        return self.at(trainer.global_step, RunLength.of(trainer).total_steps)

    def require_within(self, trainer: Trainer) -> None:
        """Check that the ramp has arrived when the run ends; call at the start of a fit.

        Raises:
            ConfigError: It ends after the run, or is a part of a run that has no known length.
        """
        if not self.moves:
            return
        total = RunLength.of(trainer).total_steps
        if math.isinf(total) and (self.unit == "fraction" or math.isinf(self.until)):
            raise ConfigError(
                f"--model.{self.name} moves over parts of a run that has no known end: set --trainer.max_epochs or "
                f"--trainer.max_steps, or give --model.{self.name}.until in optimizer steps, with unit steps"
            )
        begin, until = self._span(total)
        if until > total or begin >= until:
            raise ConfigError(
                f"--model.{self.name} moves from step {begin:g} until step {until:g}, but the run ends at step "
                f"{total:g}: lower --model.{self.name}.until, or train longer"
            )

    def _span(self, total_steps: float) -> tuple[float, float]:
        """First and last step of the way."""
        if self.unit == "fraction":
            return self.begin * total_steps, self.until * total_steps
        return self.begin, min(self.until, total_steps) if "until" not in self.ramp else self.until

    def _check_span(self) -> None:
        for key, value in (("begin", self.begin), ("until", self.until)):
            if not value >= 0:
                raise ConfigError(f"--model.{self.name}.{key} is {value:g}; it must be at least 0")
            if self.unit == "fraction" and value > 1:
                raise ConfigError(
                    f"--model.{self.name}.{key} is {value:g} of the run; it must be at most 1, or optimizer "
                    f"steps with --model.{self.name}.unit steps"
                )
        if self.until <= self.begin:
            raise ConfigError(
                f"--model.{self.name} moves from {self.begin:g} until {self.until:g}; until must be larger than begin"
            )


def _check_keys(name: str, ramp: Ramp) -> None:
    known = {"start", "end", "begin", "until", "unit", "shape"}
    if unknown := sorted(set(ramp) - known):
        raise ConfigError(
            f"--model.{name} has no setting {unknown[0]!r}; a schedule has start, end, begin, until, unit and shape"
        )
    for key in ("start", "end"):
        if key not in ramp:
            raise ConfigError(f"--model.{name} is a schedule without {key}: give --model.{name}.{key}, or one number")
    for key, choices in (("unit", ("fraction", "steps")), ("shape", ("linear", "cosine"))):
        if key in ramp and ramp[key] not in choices:  # type: ignore[literal-required]
            raise ConfigError(
                f"--model.{name}.{key} is {ramp[key]!r}; "  # type: ignore[literal-required]
                f"it can be {choices[0]} or {choices[1]}"
            )


def _check_value(option: str, value: float, least: float, most: float) -> None:
    if least <= value <= most and math.isfinite(value):
        return
    bounds = f"at least {least:g}" if math.isinf(most) else f"between {least:g} and {most:g}"
    raise ConfigError(f"{option} is {value:g}; it must be {bounds}")
