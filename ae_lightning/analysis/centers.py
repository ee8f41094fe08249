"""The middle of a cloud of points."""

import torch
from torch import Tensor


@torch.no_grad()
def geometric_median(x: Tensor, max_iter: int = 100, tolerance: float = 1e-6) -> Tensor:
    """The point with the least mean distance to given points, which a few far ones hardly move.

    Weiszfeld's algorithm from the mean: a mean of the points weighted by their inverse distances, again and again.

    Args:
        x: Points (…, n, d).
        max_iter: Most iterations.
        tolerance: Stop when no coordinate moves by more than this part of the points' root mean square distance.

    Returns:
        Shape (…, d), of the type of `x`.

    Raises:
        ValueError: There are no points.
    """
    if x.ndim < 2 or x.shape[-2] == 0:
        raise ValueError(f"points must have the shape (…, n, d) with n > 0, but theirs is {tuple(x.shape)}")
    points = x.double()
    median = points.mean(-2, keepdim=True)
    spread = (points - median).square().sum(-1).mean().sqrt()
    for _ in range(max_iter):
        # A point that the median lies on would have infinite weight.
        weights = 1 / (points - median).norm(dim=-1, keepdim=True).clamp(min=1e-12)
        moved = (weights * points).sum(-2, keepdim=True) / weights.sum(-2, keepdim=True)
        step = (moved - median).abs().max()
        median = moved
        if step <= tolerance * spread:
            break
    return median.squeeze(-2).to(x.dtype)
