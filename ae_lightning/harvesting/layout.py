"""Between what a layer gives and rows: which axis holds the width of a row, which ones count positions in a sample."""

import copy
import math
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from ae_lightning.errors import DataError

Channels = Literal["first", "last"]
"""Where in a sample the width of a row is: first, as in images (C, H, W), or last, as in tokens (T, d)."""

_FIRST = (
    *(nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d),
    *(nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.GroupNorm, nn.InstanceNorm1d, nn.InstanceNorm2d),
)
_LAST = (nn.Linear, nn.LayerNorm, nn.Embedding, nn.MultiheadAttention)


class Layout(NamedTuple):
    """How the rows of a sample lie in a layer's tensor (samples, *sample)."""

    positions: tuple[int, ...]  #: shape of the positions in a sample, which are counted by rows; () where it is one row
    width: int  #: numbers of a row
    channels: Channels

    @property
    def per_sample(self) -> int:
        """Rows of a sample."""
        return math.prod(self.positions)

    def __str__(self) -> str:
        where = "×".join(map(str, self.positions))
        return f"{where} positions of {self.width}" if self.positions else f"{self.width}"


def layout_of(shape: Sequence[int], samples: int, channels: Channels, layer: str) -> Layout:
    """The layout of a layer's tensor.

    Args:
        shape: Of the tensor, (samples, width), (samples, tokens, width), (samples, channels, height, width) and so on.
        samples: How many samples the network was given.
        channels: Where the width of a row is.
        layer: The layer's name, for the message.

    Raises:
        DataError: The tensor has no rows of these samples.
    """
    if len(shape) < 2 or shape[0] != samples:
        raise DataError(
            f"layer {layer} gives {tuple(shape)} for {samples} samples: activations are (samples, width), "
            "(samples, tokens, width) or (samples, channels, height, width)"
        )
    sample = tuple(shape[1:])
    if channels == "first":
        return Layout(sample[1:], sample[0], channels)
    return Layout(sample[:-1], sample[-1], channels)


def usual_channels(module: nn.Module, axes: int) -> Channels:
    """Where the width of a row is, by a layer's class; of other classes the first axis of images, the last of tokens.

    Args:
        module: The layer.
        axes: How many axes its tensor has, that of the samples included.
    """
    if type(module) in _FIRST:  # a subclass may order its axes in another way
        return "first"
    return "last" if type(module) in _LAST or axes <= 3 else "first"


def to_rows(value: Tensor, layout: Layout) -> Tensor:
    """A layer's tensor (samples, *sample) as (samples, positions, width); a view where it can be one."""
    if layout.channels == "first":
        value = value.movedim(1, -1)
    return value.reshape(len(value), layout.per_sample, layout.width)


def from_rows(rows: Tensor, layout: Layout) -> Tensor:
    """Rows (samples, positions, width) as a layer's tensor; the inverse of `to_rows`."""
    value = rows.reshape(len(rows), *layout.positions, layout.width)
    return value.movedim(-1, 1) if layout.channels == "first" else value


def tensor_in(value: Any) -> Tensor | None:
    """The tensor that a layer gives: itself, or the first of a tuple, list or mapping; None if there is none."""
    if isinstance(value, Mapping):
        value = tuple(value.values())
    if isinstance(value, (tuple, list)):
        return tensor_in(value[0]) if value else None
    return value if isinstance(value, Tensor) else None


def with_tensor(value: Any, tensor: Tensor) -> Any:
    """What a layer gives with another tensor in the place of the one that `tensor_in` finds."""
    if isinstance(value, MutableMapping):
        other, first = copy.copy(value), next(iter(value))
        other[first] = with_tensor(value[first], tensor)
        return other
    if isinstance(value, (tuple, list)):
        parts = [with_tensor(value[0], tensor), *value[1:]]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    return tensor


def places_of(kept: Tensor | None, samples: int, count: int) -> tuple[Tensor, Tensor]:
    """Which rows of a batch are kept.

    Args:
        kept: Positions that are kept, (samples, positions) bool; None keeps all.
        samples: Samples of the batch.
        count: Positions of a sample.

    Returns:
        The sample in the batch and the position in the sample of each row, two tensors (rows,) int64, in order.
    """
    if kept is not None:
        sample, position = kept.nonzero(as_tuple=True)
        return sample, position
    sample = torch.arange(samples).unsqueeze(1).expand(samples, count)
    return sample.flatten(), torch.arange(count).expand(samples, count).flatten()
