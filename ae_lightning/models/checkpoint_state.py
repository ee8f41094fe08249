"""Check that a checkpoint fits a model, and a training that goes on, before either is changed."""

import math
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ae_lightning.errors import CheckpointError
from ae_lightning.models.base import Autoencoder
from ae_lightning.models.checkpoint_form import is_plain, is_whole_number, texts_in

# What optimizers keep for each parameter in its own shape. Fused ones read it without looking at its shape, beyond its
# end if need be.
_LIKE_PARAMETER = {
    *("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "exp_inf", "momentum_buffer", "sum"),
    *("square_avg", "grad_avg", "acc_delta", "ax"),
}
# Weights that are the same by two names, or a few more, may share their numbers.
_MOST_SHARED = 4
_RESUMED = ("global_step", "epoch", "loops", "callbacks", "optimizer_states", "pytorch-lightning_version")


def check_weights(model: Autoencoder, checkpoint: Mapping[str, Any], path: Path) -> None:
    """Check that the weights in a checkpoint have the names and shapes of a model's.

    Raises:
        CheckpointError: They have not.
    """
    weights = checkpoint["state_dict"]
    named = isinstance(weights, Mapping) and all(isinstance(name, str) for name in weights)
    if not named or not all(is_plain(value) for value in weights.values()):
        raise CheckpointError(f"{path} is damaged: its state_dict does not hold tensors by name")
    _check_memory(list(weights.values()), path)
    if difference := _first_difference(weights, model.state_dict()):
        raise CheckpointError(f"{path} does not fit {type(model).__name__} as it is now: {difference}")


def _first_difference(stored: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> str:
    if missing := [name for name in own if name not in stored]:
        return f"it has no {missing[0]}" + (f", nor {len(missing) - 1} others" if len(missing) > 1 else "")
    if unknown := [name for name in stored if name not in own]:
        return f"it has {unknown[0]}, which the model has not"
    for name, value in own.items():
        if stored[name].shape != value.shape:
            there, here = (list(part.shape) for part in (stored[name], value))
            return f"the shape of {name} is {there} there, and {here} here"
        if stored[name].is_floating_point() != value.is_floating_point():
            return f"{name} is of type {_type(stored[name])} there, and {_type(value)} here"
    return ""


def _type(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def _check_memory(weights: list[Tensor], path: Path) -> None:
    """Refuse weights that share their numbers, so that a model of them would be far larger than the file."""
    stored = {value.untyped_storage().data_ptr(): value.untyped_storage().nbytes() for value in weights}
    needed = sum(value.numel() * value.element_size() for value in weights)
    if needed > _MOST_SHARED * sum(stored.values()):
        raise CheckpointError(f"{path} is damaged: its weights share {sum(stored.values()):,} bytes for {needed:,}")


def check_training_state(model: Autoencoder, checkpoint: Mapping[str, Any], path: Path) -> None:
    """Check that training can go on from a checkpoint.

    Raises:
        CheckpointError: It holds the weights alone, the state of another optimizer, or weights that are no numbers.
    """
    if missing := [name for name in _RESUMED if name not in checkpoint]:
        raise CheckpointError(
            f"training cannot go on from {path}, which lacks {', '.join(missing)}: it holds a model to be measured, by "
            "`ae-lightning test`, but not a training that was interrupted"
        )
    trained = dict(model.named_parameters())  # a buffer may say by NaN that there is no number yet
    weights = [(name, value) for name, value in checkpoint["state_dict"].items() if name in trained]
    if broken := [name for name, value in weights if bool(value.isnan().any())]:
        raise CheckpointError(f"{path} holds weights that are no numbers (NaN, in {broken[0]}): take another one")
    try:
        done = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
        whole = all(is_whole_number(number) for number in (done, checkpoint["global_step"], checkpoint["epoch"]))
        whole = whole and bool(re.match(r"\d{1,4}\.\d", checkpoint["pytorch-lightning_version"]))
        whole = whole and _are_counts(checkpoint["loops"]) and _are_schedules(checkpoint.get("lr_schedulers", []))
        states = [state["state"] for state in checkpoint["optimizer_states"]]
        groups = [group for state in checkpoint["optimizer_states"] for group in state["param_groups"]]
        shapes = [tuple(parameter.shape) for parameter in model.trained_parameters()]
        fitting = whole and bool(states) and all(_fits(state, shapes) for state in states)
        fitting = fitting and all(_is_group(group, len(shapes)) for group in groups)
    except (KeyError, TypeError, AttributeError, IndexError):
        fitting = False
    if not fitting:
        raise CheckpointError(
            f"training cannot go on from {path}: its loops, schedules or optimizer_states are damaged, or those of "
            "another model"
        )
    _check_paths(checkpoint["callbacks"], path)


def _are_counts(loops: Any) -> bool:
    """Whether all that Lightning's loops take up again are whole numbers, and truths."""
    if isinstance(loops, Mapping):
        return all(_are_counts(inner) for inner in loops.values())
    if isinstance(loops, list):
        return all(_are_counts(inner) for inner in loops)
    return loops is None or isinstance(loops, bool) or is_whole_number(loops)


def _are_schedules(states: Any) -> bool:
    """Whether what schedules go on from are plain values, with numbers where all of torch's have numbers."""

    def numbers(values: Any) -> bool:
        return isinstance(values, (list, tuple)) and all(_is_number(value) for value in values)

    return isinstance(states, list) and all(
        is_whole_number(state.get("last_epoch", 0))
        and numbers(state.get("base_lrs", []))
        and numbers(state.get("_last_lr", []))
        for state in states
    )


def _is_group(group: Mapping[str, Any], parameters: int) -> bool:
    """Whether this is a group of an optimizer's parameters: its places are there, and its settings no texts."""
    places = group["params"]
    settings = [value for name, value in group.items() if name != "params"]
    return (
        isinstance(places, list)
        and all(is_whole_number(place) and place < parameters for place in places)
        and not any(True for _ in texts_in(settings))
        and _is_number(group.get("lr", 0.0))
    )


def _is_number(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.numel() == 1 and bool(value.isfinite().all())
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _check_paths(states: Any, path: Path) -> None:
    """Refuse paths that lead upwards: Lightning removes the files that an earlier `ModelCheckpoint` had written."""
    if not isinstance(states, Mapping) or not all(isinstance(state, Mapping) for state in states.values()):
        raise CheckpointError(f"training cannot go on from {path}: its callbacks are damaged")
    for name, state in states.items():
        if any(".." in re.split(r"[/\\]", text) for text in texts_in(state)):
            raise CheckpointError(f"training cannot go on from {path}: its {name} names files outside the run's folder")


def _fits(states: Mapping[int, Mapping[str, Any]], shapes: list[tuple[int, ...]]) -> bool:
    kept: Iterable[tuple[tuple[int, ...], Tensor]] = (
        (shapes[number], value)
        for number, state in states.items()
        for name, value in state.items()
        if name in _LIKE_PARAMETER and isinstance(value, Tensor)
    )
    numbers = [value for state in states.values() for value in state.values()]
    return all(value is None or isinstance(value, Tensor) or _is_number(value) for value in numbers) and all(
        tuple(value.shape) == shape and value.dtype.is_floating_point for shape, value in kept
    )
