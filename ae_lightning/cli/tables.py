"""Tables for people to read, on a terminal or in a file."""

from rich.console import Console

_WIDTH = 100  # where no terminal tells it
_NO_BREAK = "\N{NO-BREAK SPACE}"


def table_console(console: Console) -> Console:
    """The console itself on a terminal; else one of a fixed width, for a file or a pipe."""
    return console if console.is_terminal else Console(highlight=False, width=_WIDTH)


def unbroken(cell: str) -> str:
    """The text of a cell, such as `0.1 ± 0.2`, so that it stays on one line."""
    return cell.replace(" ", _NO_BREAK)
