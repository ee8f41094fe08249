"""A network's layers: their classes, how often each is called, and what it gives."""

import contextlib
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

from torch import nn

from ae_lightning.errors import ConfigError, DataError
from ae_lightning.harvesting.capture import Point, hooked, run_once
from ae_lightning.harvesting.inputs import Inputs
from ae_lightning.harvesting.layout import Channels, layout_of, tensor_in, usual_channels

ENOUGH = 2
"""Samples that show a network's layers: two tell the samples' axis from one that happens to be 1."""


class Layer(NamedTuple):
    """A layer of a network, as one forward pass shows it."""

    name: str  #: as `named_modules` has it
    kind: str  #: name of its class
    calls: int | None  #: how often it is called in a pass; None where there were no data for one
    gives: str  #: what a sample gives; empty where nothing that has rows


def list_layers(module: nn.Module, inputs: Inputs | None, channels: Channels | None = None) -> list[Layer]:
    """All layers in the order in which they are defined.

    Args:
        module: The network, in evaluation mode.
        inputs: A batch; None where there is none.
        channels: Where the width of a row is; by default as is usual for each class.

    Raises:
        ConfigError: The network does not take the batch.
    """
    layers = {name: layer for name, layer in module.named_modules() if name}
    if inputs is None:
        return [Layer(name, type(layer).__name__, None, "") for name, layer in layers.items()]
    inputs = inputs.first(ENOUGH).beside(module)
    seen: dict[str, list[Any]] = {name: [] for name in layers}
    with contextlib.ExitStack() as hooks:
        for name, layer in layers.items():
            hooks.enter_context(hooked(layer, "output", partial(_note, seen[name])))
        run_once(module, inputs)

    def described(name: str, layer: nn.Module) -> Layer:
        shape = seen[name][0] if seen[name] else None
        return Layer(name, type(layer).__name__, len(seen[name]), _gives(name, layer, shape, inputs, channels))

    return [described(name, layer) for name, layer in layers.items()]


def require_single_calls(module: nn.Module, points: Sequence[Point], inputs: Inputs) -> None:
    """Check that a pass calls each layer once, so that it is clear which activations are meant.

    Raises:
        ConfigError: One is called more often, or never; or the network does not take the batch.
    """
    calls = {layer.name: layer.calls for layer in list_layers(module, inputs)}
    for point in points:
        count = calls[point.layer]
        if count == 1:
            continue
        if not count:
            raise ConfigError(
                f"--layers {point.layer} is not called in a pass of the model, which may use its weights in another "
                "way; name the layer that holds it"
            )
        raise ConfigError(
            f"--layers {point.layer} is called {count} times in a pass of the model; name a layer that is called once, "
            "such as the one that holds it"
        )


def _note(shapes: list[Any], value: Any) -> None:
    tensor = tensor_in(value)
    shapes.append(None if tensor is None else tuple(tensor.shape))


def _gives(name: str, layer: nn.Module, shape: Any, inputs: Inputs, channels: Channels | None) -> str:
    if shape is None:
        return ""
    try:
        return str(layout_of(shape, inputs.samples, channels or usual_channels(layer, len(shape)), name))
    except DataError:
        return ""
