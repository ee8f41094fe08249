"""Means and principal directions of samples, however far from zero they lie."""

from typing import NamedTuple

import torch
from torch import Tensor

from ae_lightning.nn.precision import adding_device


def centered(x: Tensor, axis: int) -> tuple[Tensor, Tensor]:
    """Mean of x along an axis, which is kept with size 1, and x without it.

    Numbers that are all alike give exactly zero, and no digits are lost where x lies far from zero compared to its
    spread: the mean is taken of differences from the first entry.
    """
    first = x.narrow(axis, 0, 1)
    difference = x - first
    step = difference.mean(axis, keepdim=True)
    return first + step, difference - step


class PrincipalDirections(NamedTuple):
    """Where samples (…, n, width) lie, and how they spread; all in float64.

    `mean` (…, width); orthonormal rows `directions` (…, width, width), strongest first; and `variances` (…, width) of
    the samples along them, divided by n.
    """

    mean: Tensor
    directions: Tensor
    variances: Tensor


def principal_directions(samples: Tensor) -> PrincipalDirections:
    """Principal directions of samples (…, n, width).

    Where samples vary in fewer directions than there are, the others are any that are at right angles to these.
    """
    mean, rows = centered(samples.to(adding_device(samples.device), torch.float64), -2)
    variances, vectors = torch.linalg.eigh(rows.mT @ rows / rows.shape[-2])
    return PrincipalDirections(mean.squeeze(-2), vectors.flip(-1).mT.contiguous(), variances.flip(-1).clamp(min=0))
