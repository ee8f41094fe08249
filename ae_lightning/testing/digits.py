"""The bundled digits in any shape, so that a variant can be trained on samples that are alike."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ae_lightning.data.base import AutoencoderDataModule, Sets
from ae_lightning.data.digits import DigitsDataModule
from ae_lightning.data.in_memory import InMemoryDataset


class ReshapedDigits(AutoencoderDataModule):
    """The digits, stretched to images or vectors of another size; values within [0, 1].

    Args:
        input_shape: Shape of one sample, (channels, height, width) or any other.
        batch_size: Samples in a training batch.
        has_targets: Whether batches are (x, y, target); the targets are the samples again.
    """

    def __init__(self, input_shape: Sequence[int], batch_size: int = 256, has_targets: bool = False) -> None:
        super().__init__(batch_size=batch_size)
        self._shape = tuple(input_shape)
        self._has_targets = has_targets

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample."""
        return self._shape

    @property
    def target_shape(self) -> tuple[int, ...] | None:
        """That of a sample, where there are targets."""
        return self._shape if self._has_targets else None

    @property
    def value_range(self) -> tuple[float, float]:
        """Black to white."""
        return 0.0, 1.0

    @property
    def num_classes(self) -> int:
        """Ten digits."""
        return 10

    def make_sets(self) -> Sets:
        """Stretch the digits of each set."""
        train, val, test = (self._stretched(one) for one in DigitsDataModule().make_sets())
        return train, val, test

    def _stretched(self, digits: InMemoryDataset) -> InMemoryDataset:
        x, y, *_ = digits.take(len(digits))
        stretched = _stretch(x, self._shape)
        return InMemoryDataset(stretched, y, target=InMemoryDataset(stretched) if self._has_targets else None)


def _stretch(x: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Digits (n, 1, 8, 8) as samples (n, *shape), by linear interpolation; the channels of an image are alike."""
    if x.shape[1:] == shape:
        return x
    if len(shape) == 3:
        return interpolate(x, shape[1:], mode="bilinear").expand(-1, *shape).contiguous()
    return interpolate(x.flatten(2), int(torch.Size(shape).numel()), mode="linear").reshape(-1, *shape)
