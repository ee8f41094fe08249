"""A variant as the command line builds it, a trainer that prints nothing, and random numbers that begin anew."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jsonargparse
import torch
from lightning.pytorch import Trainer

from ae_lightning.models.base import Autoencoder

Part = Mapping[str, Any]
"""`class_path` and `init_args`, as a YAML for `--model` has them."""

Result = TypeVar("Result")


def build_variant(part: Part, input_shape: Sequence[int], **overrides: Any) -> Autoencoder:
    """The variant of a part, with its settings read by the command line's parser.

    Args:
        part: What the YAML holds.
        input_shape: Shape of one sample.
        **overrides: Settings in place of the part's.
    """
    settings = {**(part.get("init_args") or {}), "input_shape": list(input_shape), **overrides}
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(Autoencoder, "model")
    config = parser.parse_object({"model": {"class_path": part["class_path"], "init_args": settings}})
    return parser.instantiate_classes(config).model


def quiet_trainer(root: Path, **options: Any) -> Trainer:
    """A trainer on the CPU that prints nothing and writes nothing.

    Args:
        root: A folder, for whatever is written after all.
        **options: Of `Trainer`, such as `max_steps`.
    """
    quiet: dict[str, Any] = {
        "accelerator": "cpu",
        "devices": 1,
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "num_sanity_val_steps": 0,
        "default_root_dir": root,
    }
    return Trainer(**{**quiet, **options})


def seeded(function: Callable[..., Result], *arguments: Any) -> Result:
    """Call a function with the same random numbers each time: masks and noise are then no difference."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return function(*arguments)
