"""Check that a checkpoint fits a model, and a training that goes on, before either is changed."""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ae_lightning.errors import CheckpointError
from ae_lightning.models.base import Autoencoder

# What optimizers keep for each parameter in its own shape. Fused ones read it without looking at its shape, beyond its
# end if need be.
_LIKE_PARAMETER = {
    *("exp_avg", "exp_avg_sq", "max_exp_avg_sq", "exp_inf", "momentum_buffer", "sum"),
    *("square_avg", "grad_avg", "acc_delta", "ax"),
}
_RESUMED = ("global_step", "epoch", "loops", "callbacks", "optimizer_states", "pytorch-lightning_version")


def check_weights(model: Autoencoder, checkpoint: Mapping[str, Any], path: Path) -> None:
    """Check that the weights in a checkpoint have the names and shapes of a model's.

    Raises:
        CheckpointError: They have not.
    """
    weights = checkpoint["state_dict"]
    if not isinstance(weights, Mapping) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise CheckpointError(f"{path} is damaged: its state_dict does not hold tensors by name")
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
    return ""


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
    if broken := [name for name, value in checkpoint["state_dict"].items() if bool(value.isnan().any())]:
        raise CheckpointError(f"{path} holds weights that are no numbers (NaN, in {broken[0]}): take another one")
    try:
        done = checkpoint["loops"]["fit_loop"]["epoch_progress"]["current"]["processed"]
        whole = all(isinstance(number, int) for number in (done, checkpoint["global_step"], checkpoint["epoch"]))
        whole = whole and bool(re.match(r"\d+\.\d+", checkpoint["pytorch-lightning_version"]))
        states = [state["state"] for state in checkpoint["optimizer_states"]]
        shapes = [tuple(parameter.shape) for parameter in model.trained_parameters()]
        fitting = whole and bool(states) and all(_fits(state, shapes) for state in states)
    except (KeyError, TypeError, AttributeError, IndexError):
        fitting = False
    if not fitting:
        raise CheckpointError(
            f"training cannot go on from {path}: its loops or optimizer_states are damaged, or those of another model"
        )


def _fits(states: Mapping[int, Mapping[str, Any]], shapes: list[tuple[int, ...]]) -> bool:
    kept: Iterable[tuple[tuple[int, ...], Tensor]] = (
        (shapes[number], value)
        for number, state in states.items()
        for name, value in state.items()
        if name in _LIKE_PARAMETER and isinstance(value, Tensor)
    )
    return all(tuple(value.shape) == shape and value.dtype.is_floating_point for shape, value in kept)


def check_form(checkpoint: Any, path: Path) -> None:
    """Check that a file holds a checkpoint of ours: the parts it must have, each of the right kind.

    Raises:
        CheckpointError: It does not.
    """
    named = isinstance(checkpoint, dict) and isinstance(checkpoint.get("autoencoder"), dict)
    if not named or "state_dict" not in checkpoint or not isinstance(checkpoint["autoencoder"].get("class_path"), str):
        raise CheckpointError(
            f"{path} is not a checkpoint of an ae_lightning autoencoder: it lacks 'state_dict' or 'autoencoder'"
        )
    if not isinstance(checkpoint.get("hyper_parameters", {}), dict):
        raise CheckpointError(f"{path} is damaged: its hyper_parameters are no mapping")
    state = checkpoint["autoencoder"].get("rng_state")
    if state is not None and not (isinstance(state, Tensor) and state.dtype == torch.uint8):
        raise CheckpointError(f"{path} is damaged: its rng_state is not one of torch's")
