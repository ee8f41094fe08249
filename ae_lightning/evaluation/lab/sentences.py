"""What a leaderboard says, in sentences: what is outside noise, and where baselines stand."""

from __future__ import annotations

import math
from collections.abc import Sequence

from ae_lightning.analysis.paired import LEVEL, Difference
from ae_lightning.evaluation.lab.leaderboard import COMPARED, MEASURES, Leaderboard
from ae_lightning.evaluation.lab.scores import ORACLE, RANDOM

_TITLES = {measure.name: measure.title for measure in MEASURES}
# So many pairs are named, of more the number is told.
_MOST_NAMED = 8


def sentences_of(board: Leaderboard) -> list[str]:
    """What is to be said of a leaderboard, a sentence each; none of models where there are none."""
    if not board.trained:
        return []
    found = [sentence for measure in COMPARED for sentence in noise_sentences(board, measure)]
    return [*found, *order_sentences(board)]


def noise_sentences(board: Leaderboard, measure: str) -> list[str]:
    """Which differences of models are outside noise, a sentence for each L0."""
    seeds = len(board.seeds)
    if seeds < 2:
        is_first = measure == COMPARED[0]
        return ["One seed tells nothing of noise: name several with --seeds."] if is_first else []
    families = board.differences(measure)
    total = sum(map(len, families.values()))
    return [
        f"In {_TITLES[measure]} at L0 {l0:g}, paired over {seeds} seeds, {_outside(found)}"
        f" (p < {LEVEL:g} after Holm's correction for {_count(total, 'difference')})."
        for l0, found in families.items()
        if found
    ]


def _outside(found: Sequence[Difference]) -> str:
    real = [difference for difference in found if difference.is_outside_noise]
    if not real:
        return f"none of {_count(len(found), 'difference')} is outside noise"
    above: dict[str, list[str]] = {}
    for difference in sorted(real, key=lambda difference: -difference.mean):
        above.setdefault(difference.one, []).append(difference.other)
    said = "; ".join(f"{one} is above {_listed(others)}" for one, others in above.items())
    within = [f"{difference.one} and {difference.other}" for difference in found if not difference.is_outside_noise]
    if not within:
        return f"all differences are outside noise: {said}"
    rest = _listed(within, ", and ") if len(within) <= _MOST_NAMED else f"{len(within)} others"
    return f"outside noise: {said}; within it: {rest}"


def order_sentences(board: Leaderboard) -> list[str]:
    """Whether the oracle is above every model, and each of these above random rows, in the mean over seeds."""
    wrong = []
    for measure in COMPARED:
        for l0 in board.l0s:
            top, floor = board.at(l0, ORACLE), board.at(l0, RANDOM)
            if top is None or floor is None:
                continue
            for entry in board.trained:
                if entry.asked_l0 != l0:
                    continue
                mean = entry.interval(measure).mean
                where = f"in {_TITLES[measure]} at L0 {l0:g}"
                if not mean < top.interval(measure).mean:
                    wrong.append(f"{where} {entry.model} is not below the oracle")
                if not mean > _or_zero(floor.interval(measure).mean):
                    wrong.append(f"{where} {entry.model} is not above random rows")
    if not any(entry.is_baseline for entry in board.entries):
        return []
    if not wrong:
        names = " and ".join(_TITLES[measure] for measure in COMPARED)
        return [f"In {names} the oracle is above every model, and each model above random rows."]
    return [f"{sentence[0].upper()}{sentence[1:]}." for sentence in wrong]


def _or_zero(value: float) -> float:
    return value if math.isfinite(value) else 0.0


def _listed(names: Sequence[str], last: str = " and ") -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])}{last}{names[-1]}"


def _count(number: int, noun: str) -> str:
    return f"1 {noun}" if number == 1 else f"{number} {noun}s"
