"""Latents in words and numbers, a row each."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.transforms import Bbox

from ae_lightning.plots.figure import Figure

_INCHES_PER_LETTER, _ROW = 0.082, 0.27
_HEADING, _STRIPE, _LINE = "#E8EDF3", "#F7F9FB", "#C9D1DA"


def latent_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> Figure:
    """Draw a table.

    Args:
        columns: Headings.
        rows: Cells, as many in each row as there are headings.

    Returns:
        The figure, as wide as its text.

    Raises:
        ValueError: If there are no rows, or one has another number of cells.
    """
    if not rows or any(len(row) != len(columns) for row in rows):
        raise ValueError(f"a table of {len(columns)} columns needs rows of as many cells, at least one")
    letters = [max(map(len, cells)) + 2 for cells in zip(columns, *rows, strict=True)]
    figure = Figure(figsize=(sum(letters) * _INCHES_PER_LETTER + 0.2, (len(rows) + 1) * _ROW + 0.15))
    ax = figure.add_axes((0.01, 0.02, 0.98, 0.96))
    ax.set_axis_off()
    table = ax.table(
        [list(row) for row in rows],
        colLabels=list(columns),
        colWidths=[count / sum(letters) for count in letters],
        cellLoc="left",
        colLoc="left",
        bbox=Bbox.unit(),
    )
    table.auto_set_font_size(False)
    table.set_fontsize(9)
    for (row, _), cell in table.get_celld().items():
        cell.set(edgecolor=_LINE, linewidth=0.6, facecolor=_HEADING if row == 0 else _STRIPE if row % 2 else "white")
    return figure
