"""Directions of features: unit vectors, as far apart as asked."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ae_lightning.errors import ConfigError
from ae_lightning.numerals import numeral

# Rows that are compared with all others at once, and rows that the mean of largest overlaps is estimated from.
_CHUNK = 1024
_JUDGED = 2048
# From so many rows on a step takes long enough to be watched.
_WATCHED = 4096
# A step moves rows apart that overlap by more than this part of the mean of largest overlaps, by this part of it.
_LARGE, _STEP = 0.8, 0.5
_MOST_STEPS = 60
# Halvings of the last step, after which the mean is off by less than a thousandth of it.
_HALVINGS = 8


def largest_overlaps(directions: Tensor, rows: Tensor | None = None) -> Tensor:
    """The largest |cos| (rows,) of unit rows with another one, in chunks.

    Args:
        directions: Unit rows (features, dim).
        rows: Which ones (rows,), int64; None for all.
    """
    found = []
    for part in (torch.arange(len(directions)) if rows is None else rows).split(_CHUNK):
        cosines = (directions[part] @ directions.mT).abs_()
        cosines[torch.arange(len(part)), part] = 0
        found.append(cosines.amax(1))
    return torch.cat(found)


def apart(directions: Tensor, overlap: float) -> Tensor:
    """Move unit rows apart until the mean of their largest |cos| is as asked; rows that are as far apart stay.

    First the rows become a tight frame, W (WᵀW)^(−1/2) normalized, which has the smallest sum of squared cosines: where
    gradient descent on that sum ends, as in SAELens, after one product of W with itself. Where that is not enough,
    steps move those rows apart that overlap most. The last of all steps is taken in part.

    Source: Benedetto and Fickus (2003) for tight frames; Tropp et al. (2005) for cutting large entries of W Wᵀ.

    Args:
        directions: Unit rows (features, dim).
        overlap: Mean over rows of the largest |cos| with another one; it is judged by 2,048 rows, to a thousandth.

    Raises:
        ConfigError: Rows could not be moved so far apart.
    """
    rows = torch.arange(0, len(directions), max(1, len(directions) // _JUDGED))

    def mean(candidates: Tensor) -> float:
        return float(largest_overlaps(candidates, rows).mean())

    before, now = directions, mean(directions)
    if now <= overlap:
        return directions
    from rich.console import Console  # slow to import
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    quiet = len(directions) < _WATCHED
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=quiet) as progress:
        task = progress.add_task(f"moving {len(directions):,} directions apart", total=None)
        after = _tight(directions)
        for _ in range(_MOST_STEPS):
            now = mean(after)
            progress.update(task, description=f"moving directions apart: mean of largest |cos| {numeral(now, '.4f')}")
            if now <= overlap:
                return _part_way(before, after, overlap, mean)
            before, after = after, _step(after, _LARGE * now, lambda: progress.advance(task))
    raise ConfigError(
        f"--data.overlap is {overlap:g}, but {len(directions):,} directions in {directions.shape[1]} dimensions could "
        f"only be moved apart to {now:.3f}; give at least that."
    )


def _tight(directions: Tensor) -> Tensor:
    values, vectors = torch.linalg.eigh((directions.mT @ directions).double())
    # Fewer rows than dimensions leave some of them empty.
    scale = torch.where(values > 1e-9 * values[-1], values.clamp_min(1e-30).rsqrt(), 0.0)
    return _unit(directions @ ((vectors * scale) @ vectors.mT).float())


def _step(directions: Tensor, limit: float, told: Callable[[], None]) -> Tensor:
    """Move each row away from those with which its |cos| is above a limit, by what is above."""
    moved = directions.clone()
    for part in torch.arange(len(directions)).split(_CHUNK):
        cosines = directions[part] @ directions.mT
        cosines[torch.arange(len(part)), part] = 0
        moved[part] -= _STEP * torch.nn.functional.softshrink(cosines, limit) @ directions
        told()
    return _unit(moved)


def _part_way(before: Tensor, after: Tensor, overlap: float, mean: Callable[[Tensor], float]) -> Tensor:
    """Rows between two steps, of which the first overlap more and the others less than asked."""
    low, high, found = 0.0, 1.0, after
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        rows = _unit(torch.lerp(before, after, middle))
        if mean(rows) <= overlap:
            high, found = middle, rows
        else:
            low = middle
    return found


def _unit(rows: Tensor) -> Tensor:
    return rows / rows.norm(dim=1, keepdim=True)
