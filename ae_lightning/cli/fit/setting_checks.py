"""Settings that the parser lets through though no run could come of them, refused before anything is made of them."""

import inspect
import math
from typing import Any

import torch
from jsonargparse import Namespace

from ae_lightning.cli.command_parser import LARGEST_SEED
from ae_lightning.errors import ConfigError
from ae_lightning.models.checkpoint import import_class

FROM_DATA = {"input_shape": "samples", "target_shape": "targets"}
"""Arguments of a model that the data say, and what they are the shape of."""


def check_settings(settings: Namespace, command: str) -> None:
    """Check what the parser made of the options of a subcommand.

    Raises:
        ConfigError: One is out of range, or lacks a value that it needs.
    """
    _check_seed(settings.get("seed_everything"))
    if settings.get("weights_only") is False:
        raise ConfigError(
            "--weights_only is false, which would run code that a checkpoint holds: leave it out, since ours hold none"
        )
    for part in ("model", "data"):
        _check_null(part, settings.get(part))
    if trainer := settings.get("trainer"):
        _check_trainer(trainer)
        if command == "fit" and not settings.get("ckpt_path"):
            _check_length(trainer)


def _check_seed(seed: Any) -> None:
    if isinstance(seed, int) and not 0 <= seed <= LARGEST_SEED:
        raise ConfigError(f"--seed_everything is {seed}; it must be a whole number from 0 to {LARGEST_SEED}")


def _check_null(part: str, spec: Any) -> None:
    """Refuse null for an argument whose type has none, which the parser takes for one that was left out."""
    given = (spec.get("init_args") if spec else None) or {}
    for name, parameter in inspect.signature(import_class(spec["class_path"])).parameters.items() if given else ():
        kind = str(getattr(parameter.annotation, "__name__", parameter.annotation))
        takes_null = any(word in f"{kind} {parameter.annotation}" for word in ("None", "Optional", "Any", "_empty"))
        if name in given and given[name] is None and not takes_null and name not in FROM_DATA:
            raise ConfigError(f"--{part}.{name} is null; it must be given as {kind}, or left out")


def _check_trainer(trainer: Namespace) -> None:
    for name, least in (("accumulate_grad_batches", 1), ("check_val_every_n_epoch", 1), ("log_every_n_steps", 0)):
        value = trainer.get(name)
        if value is not None and value < least:
            raise ConfigError(f"--trainer.{name} is {value}; it must be at least {least}")
    clip = trainer.get("gradient_clip_val")
    if clip is not None and not (math.isfinite(clip) and clip >= 0):
        raise ConfigError(f"--trainer.gradient_clip_val is {clip}; it must be a number of at least 0")
    _check_precision(str(trainer.get("precision")), trainer.get("accelerator"))


def _check_precision(precision: str, accelerator: Any) -> None:
    """Refuse formats that the device does not have, one of which Lightning would replace by another with a warning."""
    if accelerator == "auto":
        accelerator = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if accelerator == "cpu" and precision in ("16", "16-mixed"):
        raise ConfigError(
            f"--trainer.precision {precision} needs a GPU, since a CPU has no float16 of its own: set "
            "--trainer.precision bf16-mixed"
        )
    if accelerator == "mps" and precision in ("64", "64-true"):
        raise ConfigError(
            f"--trainer.precision {precision} cannot run on an Apple GPU, which has no float64: set "
            "--trainer.accelerator cpu, or --trainer.precision 32-true"
        )


def _check_length(trainer: Namespace) -> None:
    for name in ("max_epochs", "max_steps", "limit_train_batches"):
        if trainer.get(name) == 0:
            raise ConfigError(f"--trainer.{name} is 0, so that nothing would be trained; it must be above 0")
