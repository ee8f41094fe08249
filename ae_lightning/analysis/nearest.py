"""Which rows of weights lie close to each other."""

from __future__ import annotations

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
    nearest, cosines = [], []
    for start in range(0, len(rows), _CHUNK):
        cosine = cosine_matrix(rows[start : start + _CHUNK], rows)
        own = torch.arange(len(cosine), device=rows.device)
        cosine[own, own + start] = -torch.inf
        best = cosine.max(dim=1)
        nearest.append(best.indices)
        cosines.append(best.values)
    return torch.cat(nearest), torch.cat(cosines)


def random_rows(count: int, size: int) -> Tensor:
    """Directions drawn evenly from the sphere, (count, size): what cosines of weights are to be compared with.

    The same ones each time; no global random number is drawn.
    """
    return torch.randn(count, size, generator=torch.Generator().manual_seed(0))
