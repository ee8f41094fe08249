"""The test samples that a file holds, and how they are to be drawn."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ae_lightning.data.base import AutoencoderDataModule
from ae_lightning.data.in_memory import InMemoryDataset
from ae_lightning.explorer.chain import flat_samples
from ae_lightning.models.base import Autoencoder
from ae_lightning.plots.tiles import viewable_shape
from ae_lightning.training.batch import labels_of

Array = np.ndarray[Any, Any]

_LARGEST_CLASS = 32767
_LONGEST_STRIP = 32
_LIT_SAMPLES = 60_000


@dataclass(frozen=True)
class FileSamples:
    """The first test samples as the page has them: x = stored · scale + shift, rounded to float32 at each step.

    Args:
        stored: (count, input), uint8 or float32.
        scale: Factor, a number that float32 has.
        shift: What is added, a number that float32 has.
        labels: int16 (count,), or None where there are no classes.
    """

    stored: Array
    scale: float
    shift: float
    labels: Array | None

    @property
    def x(self) -> Tensor:
        """The samples, float32 (count, input)."""
        return torch.from_numpy(self.stored.astype(np.float32) * np.float32(self.scale) + np.float32(self.shift))


def file_samples(model: Autoencoder, data: AutoencoderDataModule, count: int, instance: int) -> FileSamples:
    """The first so many test samples: bytes where the data are bytes, or are images; else float32.

    Images that are stored in wider numbers are rounded to 256 values between their smallest and their largest.
    """
    test = data.test_set
    flat = flat_samples(model, test.take(count)[0], instance)
    classes = classes_of_test_set(data)
    labels = None if classes is None else classes[: len(flat)].numpy().astype(np.int16)
    exact = _bytes_as_stored(test, flat)
    if exact is not None:
        return FileSamples(*exact, labels)
    if not is_image(data.input_shape):
        return FileSamples(flat.numpy(), 1.0, 0.0, labels)
    low, high = float(flat.min()), float(flat.max())
    scale = float(np.float32((high - low) / 255 or 1.0))
    shift = float(np.float32(low))
    return FileSamples(((flat - shift) / scale).round().clamp(0, 255).byte().numpy(), scale, shift, labels)


def _bytes_as_stored(test: InMemoryDataset, flat: Tensor) -> tuple[Array, float, float] | None:
    """Bytes of all these samples with the numbers that make them what the model sees, where that is exact."""
    plain = isinstance(test.scale, float | int) and isinstance(test.shift, float | int) and test.center is None
    raw = test.raw(torch.arange(len(flat)))[0]
    if not plain or raw.dtype != torch.uint8 or raw.numel() != flat.numel():
        return None
    stored = raw.reshape(flat.shape).numpy()
    found = FileSamples(stored, float(np.float32(test.scale)), float(np.float32(test.shift)), None)
    return (stored, found.scale, found.shift) if torch.equal(found.x, flat) else None


def classes_of_test_set(data: AutoencoderDataModule) -> Tensor | None:
    """Class numbers of all test samples, (n,), or None where y holds something else."""
    known = data.test_set.y
    if data.num_classes is None or not isinstance(known, Tensor):
        return None
    y = data.classes_of(known)
    if y.ndim != 1 or y.dtype.is_floating_point or y.dtype.is_complex:
        return None
    y = y if data.test_set.indices is None else y[data.test_set.indices]
    return y if int(y.min()) >= 0 and int(y.max()) <= _LARGEST_CLASS else None


def class_names(data: AutoencoderDataModule, classes: Tensor) -> list[str]:
    """Names of the classes: those the data module knows as `class_names`, else their numbers.

    Args:
        data: The data module.
        classes: Class numbers of all test samples, (n,).
    """
    count = max(data.num_classes or 0, int(classes.max()) + 1)
    names = [str(name) for name in getattr(data, "class_names", None) or ()]
    return names if len(names) >= count else [str(number) for number in range(count)]


def flat_batches(
    model: Autoencoder, dataset: InMemoryDataset, batch_size: int, count: int, instance: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """The first so many samples of a set, in batches: x (batch, input) of one instance, and y."""
    end = min(count, len(dataset))
    for start in range(0, end, batch_size):
        x, y, *_ = dataset.__getitems__(torch.arange(start, min(start + batch_size, end)))
        yield flat_samples(model, x, instance), labels_of(y)


def is_image(input_shape: tuple[int, ...]) -> bool:
    """Whether samples of this shape are pictures."""
    return len(viewable_shape(input_shape)) > 1


def layout(input_shape: tuple[int, ...]) -> dict[str, Any]:
    """How samples are laid out as pixels; vectors row by row in a strip, or in a near-square picture."""
    shape = viewable_shape(input_shape)
    if len(shape) > 1:
        planes, height, width = shape if len(shape) == 3 else (1, *shape)
    else:
        planes, length = 1, shape[0]
        width = length if length <= _LONGEST_STRIP else math.ceil(math.sqrt(length))
        height = math.ceil(length / width)
    return {
        "shape": list(input_shape),
        "planes": planes,
        "height": height,
        "width": width,
        "is_image": len(shape) > 1,
    }


def drawn_range(data: AutoencoderDataModule, x: Tensor) -> tuple[float, float]:
    """What is drawn black and white: the range of the data, or that of the samples where it has no bounds."""
    low, high = data.value_range
    if not (math.isfinite(low) and math.isfinite(high)):
        low, high = float(x.min()), float(x.max())
    return low, high if high > low else low + 1.0


def lit_pixels(model: Autoencoder, data: AutoencoderDataModule, instance: int) -> Array:
    """uint8 (input,): 1 where any of the first 60,000 training samples differs from the others."""
    lowest, highest = torch.full((model.input_size,), math.inf), torch.full((model.input_size,), -math.inf)
    for x, _ in flat_batches(model, data.train_set, data.eval_batch_size, _LIT_SAMPLES, instance):
        lowest, highest = torch.minimum(lowest, x.amin(dim=0)), torch.maximum(highest, x.amax(dim=0))
    return (highest > lowest).numpy().astype(np.uint8)
