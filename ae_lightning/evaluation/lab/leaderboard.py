"""The leaderboard: a row for each model and L0, with means over seeds, their intervals, and what differences are."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ae_lightning.analysis.paired import Difference, Interval, differences, interval
from ae_lightning.evaluation.lab.scores import BASELINES
from ae_lightning.files import write_json, write_table

Row = Mapping[str, Any]


class Measure(NamedTuple):
    """A column of the leaderboard."""

    name: str  #: as `truth_scores` has it
    title: str
    better: str  #: which numbers are better
    form: str


MEASURES = (
    Measure("mcc", "MCC", "higher", ".3f"),
    Measure("f1", "F1", "higher", ".3f"),
    Measure("fvu", "FVU", "lower", ".3f"),
    Measure("l0", "L0", "as asked", ".1f"),
    Measure("precision", "precision", "higher", ".3f"),
    Measure("recall", "recall", "higher", ".3f"),
    Measure("truth_f1", "F1 of truths", "higher", ".3f"),
    Measure("mcc_matched", "MCC of matched", "higher", ".3f"),
    Measure("correlation_mcc", "correlation MCC", "higher", ".3f"),
    Measure("uniqueness", "uniqueness", "higher", ".3f"),
    Measure("absorption", "absorption", "lower", ".3f"),
    Measure("absorbed_share", "absorbed share", "lower", ".3f"),
    Measure("hedging", "hedging", "near 0", ".3f"),
    Measure("hedging_rate", "hedging rate", "lower", ".3f"),
    Measure("shrinkage_slope", "slope", "near 1", ".3f"),
    Measure("norm_ratio", "norm ratio", "near 1", ".3f"),
    Measure("splitting", "splitting", "near 1", ".2f"),
    Measure("decoder_cosine", "c_dec", "lower", ".3f"),
    Measure("dead", "dead", "lower", ".1f"),
)
"""The columns, those that count most first."""

COMPARED = ("mcc", "f1")
"""What differences are looked at in."""


class Entry(NamedTuple):
    """A model at one L0, or a baseline."""

    model: str
    asked_l0: float
    is_baseline: bool
    rows: dict[int, Row]  #: by seed

    def values(self, measure: str) -> dict[int, float]:
        """A number of each seed, those that are known."""
        found = {seed: row.get(measure) for seed, row in self.rows.items()}
        numbers = {seed: float(value) for seed, value in found.items() if isinstance(value, (int, float))}
        return {seed: number for seed, number in numbers.items() if math.isfinite(number)}

    def interval(self, measure: str) -> Interval:
        """Its mean over seeds, with an interval."""
        return interval(list(self.values(measure).values()))


class Leaderboard:
    """All entries, in the order of L0, and at one L0 those of the highest MCC first.

    Args:
        rows: By seed: what `scores_of_run` and `scores_of_baselines` answer.
    """

    def __init__(self, rows: Mapping[int, Iterable[Row]]) -> None:
        found: dict[tuple[float, str], dict[int, Row]] = {}
        for seed, of in rows.items():
            for row in of:
                found.setdefault((row["asked_l0"], row["model"]), {})[seed] = row
        entries = [Entry(model, l0, model in BASELINES, of) for (l0, model), of in found.items()]
        self.entries = sorted(entries, key=lambda entry: (entry.asked_l0, -_finite(entry.interval("mcc").mean)))
        self.seeds = list(rows)
        self.l0s = sorted({entry.asked_l0 for entry in entries})
        self.measures = [measure for measure in MEASURES if any(entry.values(measure.name) for entry in self.entries)]

    @property
    def trained(self) -> list[Entry]:
        """Entries of models."""
        return [entry for entry in self.entries if not entry.is_baseline]

    def at(self, l0: float, model: str) -> Entry | None:
        """An entry."""
        return next((entry for entry in self.entries if (entry.asked_l0, entry.model) == (l0, model)), None)

    def differences(self, measure: str) -> dict[float, list[Difference]]:
        """All pairs of models at each L0, corrected for the number of pairs at all L0s together."""
        families = [
            {entry.model: entry.values(measure) for entry in self.trained if entry.asked_l0 == l0} for l0 in self.l0s
        ]
        return dict(zip(self.l0s, differences(families), strict=True))

    def write_table(self, path: Path) -> None:
        """Write a row for each entry as CSV: means, and `…_95`, half the width of the 95 % interval of each."""
        names = [measure.name for measure in self.measures]
        columns = ["model", "kind", "asked_l0", "seeds", *(column for name in names for column in (name, f"{name}_95"))]
        write_table(path, columns, map(self._cells, self.entries))

    def _cells(self, entry: Entry) -> list[Any]:
        numbers = [entry.interval(measure.name) for measure in self.measures]
        each = [_known(value) for found in numbers for value in (found.mean, found.half)]
        return [entry.model, _kind(entry), entry.asked_l0, len(entry.rows), *each]

    def write_json(self, path: Path, about: Mapping[str, Any], sentences: Sequence[str]) -> None:
        """Write all numbers, of each seed too, and differences.

        Args:
            path: The file.
            about: What the lab was asked for.
            sentences: What is to be said of it.
        """
        write_json(
            path,
            {
                **about,
                "sentences": list(sentences),
                "rows": [self._described(entry) for entry in self.entries],
                "differences": {
                    measure: [
                        {"asked_l0": l0, **found._asdict(), "is_outside_noise": found.is_outside_noise}
                        for l0, of in self.differences(measure).items()
                        for found in of
                    ]
                    for measure in COMPARED
                },
            },
        )

    def _described(self, entry: Entry) -> dict[str, Any]:
        return {
            "model": entry.model,
            "kind": _kind(entry),
            "asked_l0": entry.asked_l0,
            "numbers": {measure.name: entry.interval(measure.name)._asdict() for measure in self.measures},
            "seeds": {str(seed): dict(row) for seed, row in entry.rows.items()},
        }


def _kind(entry: Entry) -> str:
    return "baseline" if entry.is_baseline else "trained"


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _finite(value: float) -> float:
    return value if math.isfinite(value) else -math.inf
