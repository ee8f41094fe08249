"""What flows through named layers of a network: hooks that take it, and stop the network after the last of them."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from ae_lightning.errors import ConfigError, DataError
from ae_lightning.harvesting.inputs import Inputs
from ae_lightning.harvesting.layout import Channels, Layout, layout_of, tensor_in, to_rows, usual_channels
from ae_lightning.harvesting.named import first_line, nearest

SIDES = {"output": ("output",), "input": ("input",), "both": ("input", "output")}
"""What can be taken of a layer."""


class Point(NamedTuple):
    """A place in a network where activations are taken."""

    name: str  #: of the array that they become
    layer: str  #: as `named_modules` has it
    side: str  #: "input" or "output"


class Taken(NamedTuple):
    """Activations of a batch by the name of their array, (samples, positions, width), and how they lie in a sample."""

    rows: dict[str, Tensor]
    layouts: dict[str, Layout]


class _Enough(BaseException):
    """All that was asked for has been taken; no handler in a network's own code is to catch it."""


def points_of(module: nn.Module, layers: Sequence[str], side: str) -> list[Point]:
    """The places that are asked for.

    Args:
        module: The network.
        layers: Names of layers, as `named_modules` has them.
        side: A name of `SIDES`; arrays are called as their layers, and of both sides `layer:input` and `layer:output`.

    Raises:
        ConfigError: There is no such layer or side, or one comes twice.
    """
    known = dict(module.named_modules())
    if not layers:
        raise ConfigError("name at least one layer of the model; the command without --layers lists them")
    if side not in SIDES:
        raise ConfigError(f"--side is {side}; it can be {', '.join(SIDES)}")
    for layer in layers:
        if layer not in known or not layer:
            raise ConfigError(
                f"--layers {layer or '(an empty name)'}: the model has no such layer"
                f"{nearest_layer(layer, list(known)[1:]) or '; the command without --layers lists them'}"
            )
        if layers.count(layer) > 1:
            raise ConfigError(f"--layers names {layer} twice")
    sides = SIDES[side]
    return [Point(f"{layer}:{one}" if len(sides) > 1 else layer, layer, one) for layer in layers for one in sides]


def nearest_layer(name: str, known: Sequence[str]) -> str:
    """A hint at the layer that was perhaps meant: one whose name ends so, or a near one."""
    same_end = [other for other in known if name and other.endswith(f".{name}")]
    return f"; did you mean {same_end[0]}?" if same_end else nearest(name, known)


def run_once(module: nn.Module, inputs: Inputs) -> Any:
    """What a network gives for a batch, in inference mode.

    Raises:
        ConfigError: It does not take the batch.
    """
    try:
        with torch.inference_mode():
            return module(*inputs.args, **inputs.kwargs)
    except torch.cuda.OutOfMemoryError:
        raise
    except (TypeError, RuntimeError, ValueError, IndexError) as error:
        shapes = ", ".join(f"{name} {(inputs.samples, *shape)}".strip() for name, shape in inputs.shapes)
        raise ConfigError(
            f"the model {type(module).__name__} does not take these data, {shapes}: {first_line(error)}"
        ) from error


class Capture:
    """Takes the activations at some points of a network.

    The network runs in inference mode, and only as far as the last point.

    Args:
        module: The network, in evaluation mode.
        points: The places.
        channels: Where the width of a row is; by default as is usual for the class of each layer.
    """

    def __init__(self, module: nn.Module, points: Sequence[Point], channels: Channels | None = None) -> None:
        self.module, self.points, self.channels = module, points, channels
        self._layers = dict(module.named_modules())

    def __call__(self, inputs: Inputs) -> Taken:
        """Activations of a batch, which is moved to where the network is.

        Raises:
            ConfigError: The network does not take the batch.
            DataError: A layer is not reached, or gives no tensor with rows of these samples.
        """
        found: dict[str, Tensor] = {}
        inputs = inputs.beside(self.module)
        with contextlib.ExitStack() as hooks:
            for point in self.points:
                hooks.enter_context(self._hooked(point, found))
            with contextlib.suppress(_Enough):
                run_once(self.module, inputs)
        layouts: dict[str, Layout] = {}
        for point in self.points:
            if point.name not in found:
                raise DataError(f"layer {point.layer} is not reached, or gives no tensor")
            value = found[point.name]
            channels = self.channels or usual_channels(self._layers[point.layer], value.ndim)
            layouts[point.name] = layout_of(value.shape, inputs.samples, channels, point.layer)
        return Taken({name: to_rows(value, layouts[name]) for name, value in found.items()}, layouts)

    @contextlib.contextmanager
    def _hooked(self, point: Point, found: dict[str, Tensor]) -> Iterator[None]:
        def take(value: Any) -> None:
            tensor = tensor_in(value)
            if tensor is None or point.name in found:
                return
            last = len(found) + 1 == len(self.points)
            found[point.name] = tensor if last else tensor.clone()  # a layer that follows may work in place
            if last:
                raise _Enough

        with hooked(self._layers[point.layer], point.side, take):
            yield


@contextlib.contextmanager
def hooked(layer: nn.Module, side: str, act: Callable[[Any], Any]) -> Iterator[None]:
    """Let a function see what a layer is given, or gives, each time that it is called.

    What the function answers takes its place; None leaves it as it is.
    """

    def before(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        other = act(args or kwargs)
        if other is None:
            return None
        return (other, kwargs) if args else (args, other)

    def after(_: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        return act(output)

    if side == "input":
        handle = layer.register_forward_pre_hook(before, with_kwargs=True)
    else:
        handle = layer.register_forward_hook(after)
    try:
        yield
    finally:
        handle.remove()
