"""A small classifier whose last hidden layer tells samples apart as their labels do."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

FEATURES = 64
_CHANNELS = (16, 32)
_HIDDEN = 128
_SMALLEST_SIDE = 8


class LabelClassifier(nn.Module):
    """Two convolutions of stride 2 for images, a hidden layer for all else; then 64 features, and a score per class.

    Samples are centered on `center` and divided by `scale`, one number, which `fit_scale` sets.

    Args:
        input_shape: Shape of one sample; with three axes and sides of at least 8 it is an image.
        classes: Number of classes.
    """

    center: Tensor
    scale: Tensor

    def __init__(self, input_shape: tuple[int, ...], classes: int) -> None:
        super().__init__()
        self.input_shape = tuple(input_shape)
        self.register_buffer("center", torch.zeros(self.input_shape))
        self.register_buffer("scale", torch.ones(()))
        is_image = len(self.input_shape) == 3 and min(self.input_shape[1:]) >= _SMALLEST_SIDE
        self.body = nn.Sequential(*(_convolutions if is_image else _dense)(self.input_shape), nn.ReLU())
        self.head = nn.Linear(FEATURES, classes)

    def fit_scale(self, x: Tensor) -> None:
        """Take the mean of samples (n, *input_shape) as the center, their root mean square about it as the scale."""
        self.center.copy_(x.mean(0))
        self.scale.copy_((x - self.center).square().mean().sqrt())
        self.scale[self.scale == 0] = 1.0

    def features(self, x: Tensor) -> Tensor:
        """What the last hidden layer gives of x (n, *input_shape): (n, 64), none below 0."""
        return self.body((x - self.center) / self.scale)

    def forward(self, x: Tensor) -> Tensor:
        """Scores (n, classes) of x (n, *input_shape), the logarithms of probabilities but for a constant."""
        return self.head(self.features(x))


def _convolutions(shape: tuple[int, ...]) -> list[nn.Module]:
    first, second = _CHANNELS
    height, width = ((side + 3) // 4 for side in shape[1:])
    return [
        *(nn.Conv2d(shape[0], first, 3, stride=2, padding=1), nn.ReLU()),
        *(nn.Conv2d(first, second, 3, stride=2, padding=1), nn.ReLU()),
        *(nn.Flatten(), nn.Linear(second * height * width, FEATURES)),
    ]


def _dense(shape: tuple[int, ...]) -> list[nn.Module]:
    return [nn.Flatten(), nn.Linear(math.prod(shape), _HIDDEN), nn.ReLU(), nn.Linear(_HIDDEN, FEATURES)]
