"""From where directions of three numbers are looked at, so that those that differ lie apart in the picture."""

from __future__ import annotations

import math

import torch
from torch import Tensor

# As many as leave some six degrees between neighbors.
_CANDIDATES = 500
# Of more vectors the first so many are asked for: the work grows with their square.
_MOST_VECTORS = 64


def spread_view(vectors: Tensor) -> Tensor:
    """The view in which the tips of vectors lie furthest apart, from each other and from the origin.

    Of 500 views from above, evenly spread over a half sphere, it is the one whose smallest distance is the largest.

    Args:
        vectors: (n, 3), of which the first 64 are looked at.

    Returns:
        A rotation (3, 3), float64, whose rows point to the right, up and towards the viewer: `vectors @ view.T` are
        the vectors as they are seen.

    Raises:
        ValueError: The shape is another one, or a value is not finite.
    """
    if vectors.ndim != 2 or vectors.shape[1] != 3 or not bool(vectors.isfinite().all()):
        raise ValueError(f"vectors (n, 3) that are finite are needed for a view, but their shape is {vectors.shape}")
    tips = vectors.detach().cpu().double()[:_MOST_VECTORS]
    points = torch.cat([tips.new_zeros(1, 3), tips])
    views = _views(_half_sphere(_CANDIDATES))
    seen = points @ views[:, :2].mT  # (candidates, points, 2)
    distances = torch.cdist(seen, seen)
    apart = distances + torch.eye(len(points), dtype=points.dtype) * distances.max()
    return views[apart.flatten(1).amin(dim=1).argmax()]


def turned(view: Tensor, degrees: float) -> Tensor:
    """A view (3, 3) of what has turned to the right, about the line that points up in the picture."""
    angle = math.radians(degrees)
    turn = torch.tensor(
        [[math.cos(angle), 0, math.sin(angle)], [0, 1, 0], [-math.sin(angle), 0, math.cos(angle)]], dtype=view.dtype
    )
    return turn @ view


def _half_sphere(count: int) -> Tensor:
    """Unit vectors (count, 3) on a spiral from the pole to the equator, evenly spread."""
    place = torch.arange(count, dtype=torch.float64) + 0.5
    height, angle = 1 - place / count, math.pi * (3 - math.sqrt(5)) * place
    width = (1 - height**2).sqrt()
    return torch.stack([width * angle.cos(), width * angle.sin(), height], dim=1)


def _views(directions: Tensor) -> Tensor:
    """The views (n, 3, 3) from unit vectors (n, 3), none of them the pole, which lies up in each."""
    pole = torch.tensor([0.0, 0, 1], dtype=directions.dtype).expand_as(directions)
    right = torch.nn.functional.normalize(torch.linalg.cross(pole, directions), dim=1)
    return torch.stack([right, torch.linalg.cross(directions, right), directions], dim=1)
