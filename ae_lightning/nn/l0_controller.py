"""A controller that holds the mean number of active latents at a target, whatever a penalty's coefficient is."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from ae_lightning.errors import ConfigError
from ae_lightning.nn.code_activation import Reduce
from ae_lightning.nn.precision import KeepsPrecision, wide_dtype

_MEMORY = 0.9  # of the running mean of L0, for each step: about the last ten steps count
_RATE = 0.03  # at e times the target the logarithm of the coefficient grows by this much a step
_LEAD = 60.0  # steps that the present trend of L0 is looked ahead
_LARGEST_ERROR = 1.0  # far off, the speed is limited
_HIGHEST = 1e3
_LOWEST = 1e-3
_STEPS_AT_BOUND = 200
_TOLERANCE = 0.05


class L0Controller(KeepsPrecision):
    """Multiplies a penalty's coefficient so that samples have `target` active latents on average.

    It acts on the logarithm of the coefficient, so that its unit does not matter, and moves once for each optimizer
    step. With e = log(L0 / target) of a running mean of L0, log(multiplier) grows by 0.03 · (e + 60 · Δe), within
    a thousandth and a thousandfold: the integral of e holds the target without an error that stays, and Δe, which
    is a share of e in the multiplier itself, keeps it from swinging, as L0 follows a coefficient only after some
    hundred steps.

    Args:
        target: Active latents of a sample, as a mean over samples; or one for each instance.
        latent_dim: Number of latents.
        instances: Independent copies, each of which gets a multiplier of its own; None for a single one.

    Raises:
        ConfigError: A target is not above zero, or above the number of latents.
    """

    log_target: Tensor
    log_multiplier: Tensor
    smoothed_l0: Tensor
    steps: Tensor
    steps_at_bound: Tensor

    def __init__(self, target: float | Sequence[float], latent_dim: int, instances: int | None = None) -> None:
        super().__init__()
        self.targets = [target] if isinstance(target, (int, float)) else list(target)
        for each in self.targets:
            if not 0 < each <= latent_dim:
                raise ConfigError(
                    f"--model.target_l0 is {each:g}; it must be above 0 and at most --model.latent_dim, which is "
                    f"{latent_dim}"
                )
        lead = () if instances is None else (instances,)
        logs = torch.tensor([math.log(each) for each in self.targets], dtype=torch.float64, device="cpu")
        self.register_buffer("log_target", logs.to(wide_dtype()).expand(lead or 1).clone().view(lead), persistent=False)
        self.register_buffer("log_multiplier", torch.zeros(lead, dtype=wide_dtype()))
        self.register_buffer("smoothed_l0", torch.zeros(lead, dtype=wide_dtype()))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.register_buffer("steps_at_bound", torch.zeros(lead, dtype=torch.int64))
        self._seen: list[Tensor] = []
        self._told = False

    @property
    def mean_target(self) -> float:
        """The target, as a mean over instances."""
        return sum(self.targets) / len(self.targets)

    @property
    def multiplier(self) -> Tensor:
        """What the coefficient is multiplied by, (…)."""
        return self.log_multiplier.exp()

    @torch.no_grad()
    def observe(self, l0: Tensor) -> None:
        """Gather the mean L0 (…) of a training batch."""
        self._seen.append(l0.detach().to(self.smoothed_l0))

    @torch.no_grad()
    def advance(self, reduce: Reduce) -> None:
        """Move the multiplier by what was gathered since the last optimizer step, all processes together."""
        if not self._seen:
            return
        l0 = reduce(torch.stack(self._seen).mean(0), "mean")
        self.forget()
        first = self.steps == 0
        before = torch.where(first, l0, self.smoothed_l0)
        self.smoothed_l0.copy_(torch.lerp(l0, before, _MEMORY))
        error, last_error = self._error(self.smoothed_l0), self._error(before)
        moved = self.log_multiplier + _RATE * (error + _LEAD * (error - last_error))
        self.log_multiplier.copy_(moved.clamp(math.log(_LOWEST), math.log(_HIGHEST)))
        stuck = self._at_bound & (error.abs() > _TOLERANCE)
        self.steps_at_bound.copy_(torch.where(stuck, self.steps_at_bound + 1, 0))
        self.steps.add_(1)

    def forget(self) -> None:
        """Drop what was gathered since the last optimizer step."""
        self._seen.clear()

    @property
    def is_settled(self) -> bool:
        """Whether the running mean of L0 lies within 5 % of the target, in all instances; it waits for the device."""
        return bool((self._error(self.smoothed_l0).abs() <= _TOLERANCE).all())

    def measures(self) -> dict[str, Tensor]:
        """The multiplier, as a geometric mean over instances."""
        return {"l0_multiplier": self.log_multiplier.mean().exp()}

    def saturation(self) -> str | None:
        """A sentence, given once, when a coefficient has been at its bound for 200 steps and L0 is 5 % off; else None.

        It reads numbers from the device, so ask as rarely as rows are logged.
        """
        if self._told or int(self.steps_at_bound.max()) < _STEPS_AT_BOUND:
            return None
        self._told = True
        worst = int(self.steps_at_bound.flatten().argmax())
        l0, log = float(self.smoothed_l0.flatten()[worst]), float(self.log_multiplier.flatten()[worst])
        of = "" if self.steps_at_bound.ndim == 0 else f" of instance {worst}"
        target = self.targets[worst if len(self.targets) > 1 else 0]
        factor, remedy = (f"{_HIGHEST:g} times its", "raise") if log > 0 else (f"{_LOWEST:g} of its", "lower")
        return (
            f"--model.target_l0 is {target:g}, but L0{of} stays at {l0:.3g} with --model.penalty_weight at "
            f"{factor} value, as far as it is moved: {remedy} --model.penalty_weight, or ask for another target"
        )

    @property
    def _at_bound(self) -> Tensor:
        return self.log_multiplier.abs() >= math.log(_HIGHEST) - 1e-4

    def _error(self, l0: Tensor) -> Tensor:
        # An L0 of zero has no logarithm.
        smallest = torch.finfo(l0.dtype).tiny
        return (l0.clamp_min(smallest).log() - self.log_target).clamp(-_LARGEST_ERROR, _LARGEST_ERROR)
