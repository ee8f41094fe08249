"""A leaderboard on a terminal."""

from rich.table import Table

from ae_lightning.cli.tables import PlainConsole, table_console, unbroken
from ae_lightning.evaluation.lab.leaderboard import Leaderboard
from ae_lightning.report.lab.board import cell

_SHOWN = 4


def print_board(board: Leaderboard) -> None:
    """Print a row for each entry, with the numbers that count most."""
    table = Table(title="means over seeds ± 95 % interval", title_justify="left")
    for heading in ("asked\nL0", "model"):
        table.add_column(heading, overflow="fold")
    measures = board.measures[:_SHOWN]
    for measure in measures:
        table.add_column(measure.title, justify="right")
    for entry in board.entries:
        name = f"({entry.model})" if entry.is_baseline else entry.model
        table.add_row(f"{entry.asked_l0:g}", name, *(unbroken(cell(entry, measure)) for measure in measures))
    table_console(PlainConsole()).print(table)
