"""Squares, ellipses and hearts, drawn white on black with smooth edges. Pure functions on tensors.

Lengths are parts of a picture's side. The plane of a shape has its origin in the middle of the shape, x to the right
and y upward; it is turned counterclockwise. A distance is that from the outline, negative within.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

SIDE = 0.3
"""Side of a square at scale 1."""
AXES = (0.2, 0.1)
"""Semi-axes of an ellipse at scale 1: along x and along y."""
HEART = 0.33
"""Height of a heart at scale 1."""
REACH = 0.22
"""No point of a shape at scale 1 is farther from its middle."""

# Pictures that are drawn at once: some 60 MB at 32×32.
_AT_ONCE = 2048
# A heart of the source below is so high, and the smallest circle around it has its middle so high.
_HEART_HEIGHT, _HEART_MIDDLE = 0.75 + math.sqrt(2) / 4, 0.63
# Nearer than this part of the way to its outline nothing is divided in an ellipse, whose middle has no slope.
_MIDDLE = 1e-3


def draw_shapes(
    shapes: Tensor, scales: Tensor, angles: Tensor, x: Tensor, y: Tensor, image_size: int, names: Sequence[str]
) -> Tensor:
    """Draw a shape in each picture.

    A pixel has the part of it that the shape covers, as far as the outline is straight there: 0.5 minus the distance of
    its middle from the outline, in pixels, cut to [0, 1].

    Args:
        shapes: Which of `names` to draw, (n,) int64.
        scales: Size, (n,); at 1 all shapes lie within `REACH` of their middle.
        angles: Angle by which each is turned, counterclockwise in radians, (n,).
        x: Where its middle lies, from the left side 0 to the right side 1, (n,).
        y: Where its middle lies, from the lower side 0 to the upper side 1, (n,).
        image_size: Pixels in a side.
        names: Names in `OUTLINES`.

    Returns:
        Pictures (n, 1, image_size, image_size), uint8, from 0 for black to 255; the first row is the upper one.
    """
    pictures = torch.empty(len(shapes), 1, image_size, image_size, dtype=torch.uint8)
    across = (torch.arange(image_size) + 0.5) / image_size
    for number, name in enumerate(names):
        for rows in (shapes == number).nonzero().flatten().split(_AT_ONCE):
            place, turn = (x[rows], y[rows]), angles[rows]
            u, v = _turned(across - place[0][:, None], across.flip(0) - place[1][:, None], turn)
            scale = scales[rows, None, None]
            distances = OUTLINES[name](u / scale, v / scale) * scale
            covered = (0.5 - distances * image_size).clamp_(0, 1)
            pictures[rows, 0] = covered.mul_(255).round_().to(torch.uint8)
    return pictures


def _turned(x: Tensor, y: Tensor, angles: Tensor) -> tuple[Tensor, Tensor]:
    """Places x (n, columns) and y (n, rows) in the plane of shapes that are turned, (n, rows, columns) each."""
    cosine, sine = angles.cos()[:, None, None], angles.sin()[:, None, None]
    x, y = x[:, None, :], y[:, :, None]
    return cosine * x + sine * y, cosine * y - sine * x


def square(x: Tensor, y: Tensor) -> Tensor:
    """Distances from a square of side `SIDE`; beyond a corner, from the nearer of its two lines."""
    return torch.maximum(x.abs(), y.abs()) - SIDE / 2


def ellipse(x: Tensor, y: Tensor) -> Tensor:
    """Distances from an ellipse, to the first order: right near the outline, too small far away."""
    a, b = AXES
    radius = torch.hypot(x / a, y / b).clamp(min=_MIDDLE)
    slope = torch.hypot(x / a**2, y / b**2).clamp(min=_MIDDLE / a)
    return radius * (radius - 1) / slope


def heart(x: Tensor, y: Tensor) -> Tensor:
    """Distances from a heart: a square that stands on a corner, and a half circle on each of its upper sides.

    Source: Quilez, "2D distance functions", the function sdHeart.
    """
    unit = HEART / _HEART_HEIGHT
    x, y = x.abs() / unit, y / unit + _HEART_MIDDLE
    along = (x + y).clamp(min=0) / 2
    below = torch.minimum(torch.hypot(x, y - 1), torch.hypot(x - along, y - along)) * (x - y).sign()
    above = torch.hypot(x - 0.25, y - 0.75) - math.sqrt(2) / 4
    return torch.where(x + y > 1, above, below) * unit


OUTLINES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {"square": square, "ellipse": ellipse, "heart": heart}
"""The shapes: distances of places from the outline, by name."""

SYMMETRY = {"square": 4, "ellipse": 2, "heart": 1}
"""In how many positions of a turn a shape looks the same."""
