"""Which rows of weights lie close to each other."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ae_lightning.metrics.recovery import cosine_matrix

# So many rows are compared with all others at once.
_CHUNK = 1024


def nearest_rows(rows: Tensor) -> tuple[Tensor, Tensor]:
    """The other row that points most nearly the same way, for each row.

    Args:
        rows: Weights, (latent, input), of at least two latents.

    Returns:
        Numbers of the nearest, int64 (latent,), and their cosines, (latent,). Of a row that is zero, or of equals, it
        is the first one.

    Raises:
        ValueError: If there are fewer than two rows.
    """
    if rows.ndim != 2 or len(rows) < 2:
        raise ValueError(f"at least two rows (latent, input) are needed, but theirs is {tuple(rows.shape)}")
    best = [cosine.max(dim=1) for cosine in _cosines_with_others(rows)]
    return torch.cat([part.indices for part in best]), torch.cat([part.values for part in best])


def nearest_few(rows: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The other rows that point most nearly the same way, for each row, the nearest first.

    Args:
        rows: Weights, (latent, input).
        count: How many others; fewer if there are not so many.

    Returns:
        Their numbers, int64 (latent, count), and cosines, (latent, count), both on the CPU.
    """
    best = [cosine.topk(min(count, len(rows) - 1), dim=1) for cosine in _cosines_with_others(rows)]
    return torch.cat([part.indices for part in best]).cpu(), torch.cat([part.values for part in best]).cpu()


def random_rows(count: int, size: int) -> Tensor:
    """Directions drawn evenly from the sphere, (count, size): what cosines of weights are to be compared with.

    The same ones each time; no global random number is drawn.
    """
    return torch.randn(count, size, generator=torch.Generator().manual_seed(0))


def _cosines_with_others(rows: Tensor) -> Iterator[Tensor]:
    """Cosines of some rows with all, (rows, latent), −∞ with themselves."""
    for start in range(0, len(rows), _CHUNK):
        cosine = cosine_matrix(rows[start : start + _CHUNK], rows)
        own = torch.arange(len(cosine), device=rows.device)
        cosine[own, own + start] = -torch.inf
        yield cosine
