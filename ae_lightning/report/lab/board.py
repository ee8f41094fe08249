"""The leaderboard as tables for people."""

from __future__ import annotations

import math

from ae_lightning.evaluation.lab.leaderboard import COMPARED, MEASURES, Entry, Leaderboard, Measure
from ae_lightning.numerals import numeral, with_error
from ae_lightning.report.page import Numbers

_NOTE = (
    "Means over seeds ± half the width of their 95 % interval. MCC: mean |cosine| of truths with their latents, "
    "matched one to one. F1: of latents as detectors of their best truths. FVU: fraction of variance unexplained. "
    "Baselines have codes by orthogonal matching pursuit."
)


def board_tables(board: Leaderboard) -> list[Numbers]:
    """A table for each L0, those of the highest MCC on top."""
    return [_table(board, l0) for l0 in board.l0s]


def _table(board: Leaderboard, l0: float) -> Numbers:
    headings = [f"asked for L0 {l0:g}", *(_heading(measure) for measure in board.measures)]
    rows = [
        [_name(entry), *(cell(entry, measure) for measure in board.measures)]
        for entry in board.entries
        if entry.asked_l0 == l0
    ]
    return Numbers(headings, rows, _NOTE if l0 == board.l0s[-1] else "")


def _heading(measure: Measure) -> str:
    signs = {"higher": " ↑", "lower": " ↓"}
    return f"{measure.title}{signs.get(measure.better, '')}"


def _name(entry: Entry) -> str:
    return f"{entry.model} (baseline)" if entry.is_baseline else entry.model


def cell(entry: Entry, measure: Measure) -> str:
    """A number of an entry with its interval; empty where it is not known."""
    found = entry.interval(measure.name)
    # What the form rounds to nothing is nothing here, and not a number of its own notation.
    mean, half = (0.0 if float(f"{value:{measure.form}}") == 0 else value for value in (found.mean, found.half))
    return "" if math.isnan(found.mean) else with_error(mean, half, measure.form)


def difference_tables(board: Leaderboard) -> list[Numbers]:
    """All differences of models with their p-values, a table for each number and L0."""
    titles = {measure.name: measure.title for measure in MEASURES}
    return [
        Numbers(
            [f"{titles[measure]} at L0 {l0:g}", "difference", "p", "after Holm"],
            [
                [
                    f"{found.one} − {found.other}",
                    numeral(found.mean, ".4f"),
                    numeral(found.p, ".4f"),
                    numeral(found.corrected, ".4f") + (" *" if found.is_outside_noise else ""),
                ]
                for found in sorted(of, key=lambda each: each.corrected)
            ],
            "* outside noise",
        )
        for measure in COMPARED
        for l0, of in board.differences(measure).items()
        if of and len(board.seeds) > 1
    ]
