"""Units through training: which lead, where they turn, which are born and which die.

A *moment* is one point of training at which weights or statistics were kept. Answers are detached tensors on the
device of what was given, float64 where they are cosines (for Apple's GPUs, which have none, on the CPU).
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from ae_lightning.analysis.importance import order
from ae_lightning.metrics.recovery import cosine_matrix


class Matching(NamedTuple):
    """Which unit has become which."""

    assignment: Tensor  #: for each unit before, the number of its match after, int64 (latent,); a permutation
    cosine: Tensor  #: the cosine of the two, (latent,)


class Births(NamedTuple):
    """When units first and last fired, as indices of moments."""

    born: Tensor  #: the first moment a unit fires, int64 (latent,); -1 for one that never fires
    died: (
        Tensor  #: the last moment a unit fires, if silent moments follow, int64 (latent,); else -1, also if never born
    )


def top_units(importances: Tensor, k: int) -> Tensor:
    """The k most important units at each moment.

    Args:
        importances: Any number for each unit at each moment, (moments, latent).
        k: How many, from 1 to latent.

    Returns:
        int64 indices (moments, k), the most important first; equal ones are in the order of their numbers.

    Raises:
        ValueError: If ``importances`` is not of two dimensions, or ``k`` is out of its range.
    """
    if importances.ndim != 2 or not 1 <= k <= importances.shape[1]:
        raise ValueError(
            "importances (moments, latent) and a k from 1 to latent are needed, but the shape is "
            f"{tuple(importances.shape)} and k is {k}"
        )
    return order(importances)[:, :k]


def match_units(before: Tensor, after: Tensor) -> Matching:
    """Match the units of two moments, or of two models, one to one, with the largest sum of cosines.

    The sign counts: a unit that has turned around is no match for what it was. The matching is found by
    ``scipy.optimize.linear_sum_assignment`` on the CPU. Zero rows have cosine 0 with everything, and take what is
    left over.

    Args:
        before: Rows of units, (latent, input).
        after: As many rows of units, (latent, input).

    Returns:
        For each unit before its match after, and their cosine.

    Raises:
        ValueError: If the shapes differ or have not two dimensions, or a row is not finite.
    """
    from scipy.optimize import linear_sum_assignment  # slow to import

    if before.ndim != 2 or before.shape != after.shape:
        raise ValueError(
            "the rows of units at two moments, both (latent, input), are needed, but theirs are "
            f"{tuple(before.shape)} and {tuple(after.shape)}"
        )
    cosines = cosine_matrix(_double(before), _double(after))
    if not bool(cosines.isfinite().all()):
        raise ValueError("units with weights that are not finite cannot be matched")
    # The matrix is square, so rows come back as 0, 1, 2 and so on.
    _, columns = linear_sum_assignment(cosines.cpu().numpy(), maximize=True)
    assignment = torch.as_tensor(columns, dtype=torch.long, device=cosines.device)
    return Matching(assignment, cosines.gather(1, assignment[:, None])[:, 0])


def drift(vectors: Iterable[Tensor]) -> Tensor:
    """How far each unit turns from one moment to the next: 1 − cosine.

    It is 0 for a direction that stays and 2 for one that reverses; lengths do not count. A zero row has cosine 0
    with everything, also with itself, so that a unit without weights drifts by 1.

    Args:
        vectors: Rows of the same units, (moments, latent, input), as a tensor or moment by moment, so that not all
            need be in memory. Moments may have leading dimensions of instances.

    Returns:
        float64 (moments - 1, latent), in [0, 2].

    Raises:
        ValueError: If there are fewer than two moments, or their shapes differ.
    """
    steps = [1 - unit_cosines(before, after) for before, after in pairwise(vectors)]
    if not steps:
        raise ValueError("a drift needs at least two moments")
    return torch.stack(steps)


def births_and_deaths(firing: Tensor, threshold: float = 0.0) -> Births:
    """When each unit first fires, and after which moment it never fires again.

    A unit may be silent between the two. One that is silent at the last moment counts as fallen silent, whether or not
    it would have come back.

    Args:
        firing: How often each unit fires at each moment, such as its firing density, (moments, latent).
        threshold: A unit fires at a moment where its number is greater than this; NaN is silent.

    Returns:
        The moments, -1 where there is none.

    Raises:
        ValueError: If ``firing`` is not of two dimensions, or has no moments.
    """
    if firing.ndim != 2 or len(firing) == 0:
        raise ValueError(
            f"firing must have the shape (moments, latent) with a moment, but its is {tuple(firing.shape)}"
        )
    fires = firing.detach() > threshold
    moments = torch.arange(len(fires), device=fires.device)[:, None]
    last = torch.where(fires, moments, -1).amax(dim=0)
    first = torch.where(fires, moments, len(fires)).amin(dim=0)
    return Births(first.where(last >= 0, -1), last.where(last < len(fires) - 1, -1))


def unit_cosines(encoder_vectors: Tensor, decoder_vectors: Tensor) -> Tensor:
    """Cosine of what each unit reads and what it writes.

    Args:
        encoder_vectors: (…, latent, input).
        decoder_vectors: (…, latent, input).

    Returns:
        float64 (…, latent), in [-1, 1]; 0 where either row is zero, NaN where one is not finite.

    Raises:
        ValueError: If the shapes differ or have fewer than two dimensions.
    """
    if encoder_vectors.ndim < 2 or encoder_vectors.shape != decoder_vectors.shape:
        raise ValueError(
            "two sets of rows of the same shape (…, latent, input) are needed, but theirs are "
            f"{tuple(encoder_vectors.shape)} and {tuple(decoder_vectors.shape)}"
        )
    encoder, decoder = _double(encoder_vectors), _double(decoder_vectors)
    # Each unit is an instance with one row to compare with one.
    return cosine_matrix(encoder.unsqueeze(-2), decoder.unsqueeze(-2))[..., 0, 0]


def _double(rows: Tensor) -> Tensor:
    # In float32 a turn by a thousandth, whose cosine is 1 - 5e-7, would drown in rounding.
    rows = rows.detach()
    return rows.cpu().double() if rows.device.type == "mps" else rows.double()
