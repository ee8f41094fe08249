"""Tables and sentences for people to read, on a terminal or in a file."""

from typing import Any

from rich.console import Console
from rich.text import Text

from ae_lightning.printable import printable

_WIDTH = 100  # where no terminal tells it
_NO_BREAK = "\N{NO-BREAK SPACE}"


class PlainConsole(Console):
    """rich's console, to which a text is that text: `[red]` and `:smile:` are names that a run may have.

    Args:
        **kwargs: Arguments of `rich.console.Console`.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(highlight=False, markup=False, emoji=False, **kwargs)

    def render_str(self, text: str, **kwargs: Any) -> Text:
        """Make what is printed of a text, as it stands in a cell, too."""
        return super().render_str(printable(text), **kwargs)


def table_console(console: Console) -> Console:
    """The console itself on a terminal; else one of a fixed width, for a file or a pipe."""
    return console if console.is_terminal else PlainConsole(width=_WIDTH)


def unbroken(cell: str) -> str:
    """The text of a cell, such as `0.1 ± 0.2`, so that it stays on one line."""
    return cell.replace(" ", _NO_BREAK)
