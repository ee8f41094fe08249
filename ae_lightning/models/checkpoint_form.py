"""Whether a file holds a checkpoint of ours: each part that is read of the right kind, and none without measure."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ae_lightning.errors import CheckpointError

_DEEPEST = 50
_MOST_VALUES = 1_000_000


def check_form(checkpoint: Any, path: Path) -> None:
    """Check that a file holds a checkpoint of ours: the parts it must have, each of the right kind.

    Raises:
        CheckpointError: It does not.
    """
    _check_measure(checkpoint, path)
    named = isinstance(checkpoint, dict) and isinstance(checkpoint.get("autoencoder"), dict)
    if not named or "state_dict" not in checkpoint or not isinstance(checkpoint["autoencoder"].get("class_path"), str):
        raise CheckpointError(
            f"{path} is not a checkpoint of an ae_lightning autoencoder: it lacks 'state_dict' or 'autoencoder'"
        )
    settings = checkpoint.get("hyper_parameters", {})
    if not isinstance(settings, dict) or not all(isinstance(name, str) for name in settings):
        raise CheckpointError(f"{path} is damaged: its hyper_parameters are no mapping of names")
    _check_own_part(checkpoint["autoencoder"], path)


def is_plain(value: Any) -> bool:
    """Whether this is a tensor that has all its numbers, each in a place of its own."""
    if not isinstance(value, Tensor) or value.layout != torch.strided or value.device.type != "cpu":
        return False
    if value.is_quantized or value.is_nested:
        return False
    return value.untyped_storage().nbytes() >= value.numel() * value.element_size()


def is_whole_number(value: Any) -> bool:
    """Whether this is a count: a whole number from 0 on that 53 bits hold."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53


def texts_in(content: Any) -> Iterator[str]:
    """All texts in nested values, names included; `_check_measure` has seen that there is an end."""
    if isinstance(content, Mapping):
        content = [*content.keys(), *content.values()]
    if isinstance(content, (list, tuple)):
        for inner in content:
            yield from texts_in(inner)
    elif isinstance(content, str):
        yield content


def _check_measure(checkpoint: Any, path: Path) -> None:
    """Refuse what lies too deep, holds itself, stands for too many values, or asks for more memory than it has."""
    left, seen = [(checkpoint, 0)], 0
    while left:
        value, depth = left.pop()
        seen += 1
        if depth > _DEEPEST or seen > _MOST_VALUES:
            raise CheckpointError(f"{path} is damaged: its values lie too deep within each other, or are too many")
        if isinstance(value, Mapping):
            left += [(inner, depth + 1) for pair in value.items() for inner in pair]
        elif isinstance(value, (list, tuple, set)):
            left += [(inner, depth + 1) for inner in value]
        elif isinstance(value, Tensor) and not is_plain(value):
            raise CheckpointError(
                f"{path} is damaged: it holds a tensor that is not dense, or of a shape beyond the numbers that it has"
            )


def _check_own_part(own: Mapping[str, Any], path: Path) -> None:
    """Check what our models and commands read in `autoencoder`."""
    class_path = own["class_path"]
    if not all(part.isidentifier() for part in class_path.split(".")):
        raise CheckpointError(f"{path} names {class_path[:80]!r} as its class, which is no path such as package.Class")
    if not is_whole_number(own.get("images_seen", 0)) or not is_whole_number(own.get("phase", 0)):
        raise CheckpointError(f"{path} is damaged: its images_seen or its phase is no whole number")
    state = own.get("rng_state")
    if state is not None and not _is_random_state(state):
        raise CheckpointError(f"{path} is damaged: its rng_state is not one of torch's")
    if not _are_means(own.get("epoch_means", {})):
        raise CheckpointError(f"{path} is damaged: its epoch_means are not sums of numbers by name")


def _is_random_state(state: Any) -> bool:
    if not (isinstance(state, Tensor) and state.dtype == torch.uint8):
        return False
    try:
        torch.Generator().set_state(state)
    except (RuntimeError, TypeError):  # of another length, or impossible
        return False
    return True


def _are_means(means: Any) -> bool:
    if not isinstance(means, Mapping):
        return False
    names, sums, weight = means.get("names", []), means.get("sums"), means.get("weight", 0)
    named = isinstance(names, list) and all(isinstance(name, str) for name in names)
    summed = sums is None or (isinstance(sums, Tensor) and sums.is_floating_point() and sums.ndim == 1)
    missed = means.get("missed", {})
    counted = isinstance(missed, Mapping) and all(is_whole_number(count) for count in (weight, *missed.values()))
    return named and summed and counted and (sums is None or len(sums) == len(names))
