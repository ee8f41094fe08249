"""The learning rate of sparse dictionaries where the user names none: by width and length of the run.

An optimizer whose rate is 0 has none named: `optimizer_with_rate` gives it the rule's. Zero is a plain number, so
that configs, checkpoints and sweeps hold it, and other settings of the optimizer can be changed beside it.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch.optim.lr_scheduler import LambdaLR

from ae_lightning.training.run_length import RunLength
from ae_lightning.training.trainer import trainer_of

_RATE = 0.016  # for _LATENTS latents and _STEPS optimizer steps, at inputs of mean square 1
_LATENTS = 512
_STEPS = 1000
_LOWEST, _HIGHEST = 1e-4, 0.02

WARMUP = 0.05
"""Part of a run in which the rate rises from zero."""

DECAY = 0.2
"""Part of a run, its last, in which the rate falls to zero."""


def default_rate(latent_dim: int, steps: float) -> float:
    """Learning rate of Adam for a sparse dictionary: 0.016 · √(512 / latents) · √(1,000 / steps), at most 0.02.

    It was measured on sparse sums of known directions, with inputs of mean square 1; the square root of the width is
    that of Gao et al. (2024). It never falls below 0.0001.

    Args:
        latent_dim: Number of latents.
        steps: Optimizer steps of the run; a run of no known length counts as one of 100,000.
    """
    steps = steps if math.isfinite(steps) else 100_000
    rate = _RATE * math.sqrt(_LATENTS / latent_dim * _STEPS / max(steps, 1))
    return min(_HIGHEST, max(_LOWEST, rate))


def rate_factor(step: int, total_steps: float) -> float:
    """What the rate is multiplied by in the step that follows `step` completed ones: rise, level, and linear decay.

    In a run of no known length it is 1.
    """
    if not math.isfinite(total_steps):
        return 1.0
    rising = (step + 1) / (WARMUP * total_steps + 1)
    falling = (total_steps - step) / (DECAY * total_steps) if total_steps > 0 else 0.0
    return max(0.0, min(1.0, rising, falling))


def optimizer_with_rate(
    build: Callable[..., torch.optim.Optimizer], module: LightningModule, latent_dim: int
) -> Callable[..., torch.optim.Optimizer]:
    """A builder of the same optimizer, in which groups of parameters with rate 0 get that of the rule.

    Args:
        build: Builds an optimizer from parameters.
        module: What it is for; the run of its trainer is measured when the optimizer is built.
        latent_dim: Number of latents.
    """
    return partial(_build_with_rate, build, module, latent_dim)  # a copy of the module copies it, unlike a closure


def warmup_and_decay(module: LightningModule) -> Callable[[torch.optim.Optimizer], LambdaLR]:
    """A builder of the schedule that `rate_factor` gives for the run of a module's trainer; step it after each batch.

    The run is measured at each step, since a search for a batch size changes how long it is.
    """
    return partial(_build_schedule, module)


def _build_with_rate(
    build: Callable[..., torch.optim.Optimizer], module: LightningModule, latent_dim: int, params: Any
) -> torch.optim.Optimizer:
    optimizer = build(params)
    for group in optimizer.param_groups:
        if group.get("lr") == 0:
            group["lr"] = default_rate(latent_dim, _length(module))
    return optimizer


def _build_schedule(module: LightningModule, optimizer: torch.optim.Optimizer) -> LambdaLR:
    return LambdaLR(optimizer, lambda step: rate_factor(step, _length(module)))


def _length(module: LightningModule) -> float:
    trainer = trainer_of(module)
    return math.inf if trainer is None else RunLength.of(trainer).total_steps
