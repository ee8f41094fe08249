"""Numbers of a leaderboard as its table shows them."""

import pytest

from ae_lightning.evaluation.lab.leaderboard import Entry, Measure
from ae_lightning.report.lab.board import cell


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ([1.0, 1.0 - 1e-8], "1.000 ± 0.000"),
        ([2e-16, -4e-16], "0.000 ± 0.000"),
        ([0.5, 0.5], "0.500 ± 0.000"),
        ([0.25], "0.250"),
        ([3e7], "3e+07"),
        ([None], ""),
    ],
)
def test_what_rounds_to_nothing_is_shown_as_nothing(values: list[float | None], shown: str) -> None:
    rows = {seed: {"hedging": value} for seed, value in enumerate(values)}
    assert cell(Entry("TopKSAE", 4, False, rows), Measure("hedging", "hedging", "near 0", ".3f")) == shown
