"""Which coefficient of a penalty gives a wanted L0, and the error there: a search of few runs, pure arithmetic."""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

CLOSE, BRACKET, FARTHEST = 1.02, 1.25, 16.0


class Point(NamedTuple):
    """What a run came to."""

    coefficient: float
    l0: float
    fvu: float


def points_about(
    target: float, first: float, run: Callable[[float], tuple[float, float]], most: int, rises: bool = False
) -> list[Point]:
    """Runs, each by a coefficient, until two have an L0 little below and little above the target, or one meets it.

    Args:
        target: L0 that is wanted.
        first: Coefficient to begin with.
        run: Trains with a coefficient; answers L0 and FVU.
        most: Runs after which the search gives up.
        rises: Whether L0 rises with the coefficient.
    """
    found: list[Point] = []
    coefficient: float | None = first
    while coefficient is not None and len(found) < most:
        found.append(Point(coefficient, *run(coefficient)))
        coefficient = following(found, target, rises)
    return found


def following(points: Sequence[Point], target: float, rises: bool = False) -> float | None:
    """The next coefficient to try; None if there are points enough.

    Between points on both sides of the target it is the one where the line between the nearest two, in logarithms,
    meets it; else it is beyond the farthest that was tried.
    """
    if fvu_at(points, target, BRACKET) is not None:
        return None
    above = min((point for point in points if point.l0 > target), key=lambda point: point.l0, default=None)
    below = max((point for point in points if point.l0 <= target), key=lambda point: point.l0, default=None)
    if above is not None and below is not None:
        part = math.log(above.l0 / target) / math.log(above.l0 / below.l0) if below.l0 > 0 else 0.5
        part = min(max(part, 0.1), 0.9)  # so that both ends close in
        return above.coefficient ** (1 - part) * below.coefficient**part
    tried = [point.coefficient for point in points]
    if above is not None:
        factor = min(max(1.1 * above.l0 / target, 1.5), FARTHEST)
        return min(tried) / factor if rises else max(tried) * factor
    assert below is not None
    factor = min(max(1.1 * target / max(below.l0, 1e-9), 1.5), FARTHEST)
    return max(tried) * factor if rises else min(tried) / factor


def fvu_at(points: Sequence[Point], target: float, farthest: float = math.inf) -> float | None:
    """FVU at an L0, by the line between the nearest points below and above it, in logarithms of both.

    Args:
        points: What runs came to.
        target: The L0.
        farthest: Factor by which both may be off. Without such two a point that meets the L0 stands for itself; else
            None is answered.
    """
    near = sorted((point for point in points if 1 / farthest <= point.l0 / target <= farthest), key=lambda p: p.l0)
    for below, above in pairwise(near):
        if 0 < below.l0 <= target <= above.l0:
            span = math.log(above.l0 / below.l0)
            part = math.log(target / below.l0) / span if span else 0.0
            return math.exp((1 - part) * math.log(below.fvu) + part * math.log(above.fvu))
    nearest = min(near, key=lambda point: _distance(point, target), default=None)
    return nearest.fvu if nearest and _distance(nearest, target) <= math.log(CLOSE) else None


def _distance(point: Point, target: float) -> float:
    return abs(math.log(point.l0 / target)) if point.l0 > 0 else math.inf
