"""What the benchmark beside other libraries found, as Markdown tables: pure functions of the figures."""

import statistics
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Ratio(NamedTuple):
    """One figure's ratio to another's: the median over the rounds, the smallest and the largest."""

    middle: float
    least: float
    most: float

    def __str__(self) -> str:
        middle = f"{self.middle:.2f}"
        return middle if self.least == self.most else f"{middle} ({self.least:.2f} to {self.most:.2f})"


class Claim(NamedTuple):
    """A ratio that is wanted: of what to what, how much it is, and at most how much it shall be."""

    title: str
    ratio: Ratio
    wanted: float

    def row(self) -> list[str]:
        """Cells of a table; in bold where it is more than is wanted, as rounded."""
        reached = round(self.ratio.middle, 2) <= self.wanted
        return [self.title, str(self.ratio) if reached else f"**{self.ratio}**", f"≤ {self.wanted:g}"]


def ratio(mine: Sequence[float], theirs: Sequence[float]) -> Ratio:
    """Of the figures of the same round."""
    ratios = [a / b for a, b in zip(mine, theirs, strict=True)]
    return Ratio(statistics.median(ratios), min(ratios), max(ratios))


def markdown(headings: Sequence[str], rows: Sequence[Sequence[str]], texts: int = 1) -> str:
    """A table whose first columns, as many as `texts`, are text and the others numbers."""
    rule = ["---"] * texts + ["---:"] * (len(headings) - texts)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (headings, rule, *rows))


def table(
    figures: Mapping[str, Mapping[str, str]], columns: Sequence[str], heading: str = "", missing: str = ""
) -> str:
    """A table of figures by row and column; columns that no row has are left out."""
    kept = [column for column in columns if any(column in row for row in figures.values())]
    rows = [[title, *(row.get(column, missing) for column in kept)] for title, row in figures.items()]
    return markdown([heading, *kept], rows)


def claims(found: Sequence[Claim]) -> str:
    """A table of ratios beside what is wanted."""
    return markdown(["", "ratio", "wanted"], [claim.row() for claim in found])
