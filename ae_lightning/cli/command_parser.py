"""The parser of commands that are not Lightning's: a mistake is one sentence, and no abbreviation is guessed at."""

import argparse
import difflib
import re
from collections.abc import Sequence
from typing import Any, NoReturn

from ae_lightning.errors import ConfigError
from ae_lightning.upstream import option_names

LARGEST_SEED = 2**32 - 1
"""The largest seed that NumPy takes, and so Lightning's."""


class CommandParser(argparse.ArgumentParser):
    """argparse's parser with the command's name, which raises instead of printing its usage.

    Args:
        command: Name of the command, such as evaluate.
        **kwargs: Arguments of `argparse.ArgumentParser`.
    """

    def __init__(self, command: str, **kwargs: Any) -> None:
        super().__init__(prog=f"ae-lightning {command}", allow_abbrev=False, **kwargs)

    def error(self, message: str) -> NoReturn:
        """Raise a ConfigError, with the nearest option where one is unknown."""
        unknown = message.removeprefix("unrecognized arguments: ").split()
        if len(unknown) < len(message.split()) and unknown[0].startswith("-"):
            message = f"there is no option {unknown[0]}{self.nearest(unknown[0])}"
        elif message.startswith("the following arguments are required"):
            message = f"{message.rpartition(': ')[2]} must be given"
        elif match := re.match(r"argument ([^:/]+?)(?:/[^:]+)?: expected (\w+) arguments?", message):
            message = f"{match[1]} needs {match[2]} {'value' if match[2] == 'one' else 'values'}"
        elif match := re.match(r"argument ([^:/]+?)(?:/[^:]+)?: invalid int value: (.+)", message):
            message = f"{match[1]} should be a whole number, but it is {match[2]}"
        raise ConfigError(f"{message} (`{self.prog} --help` tells more)")

    def nearest(self, option: str) -> str:
        """A hint at the option of this command that was perhaps meant."""
        close = difflib.get_close_matches(option.partition("=")[0], option_names(self), n=1, cutoff=0.6)
        return f"; did you mean {close[0]}?" if close else ""


def unknown_of(parser: CommandParser, arguments: Sequence[str]) -> str | None:
    """The first argument that looks like a misspelt option of this parser, as a sentence; None if none does."""
    for argument in arguments:
        if argument.startswith("--") and (hint := parser.nearest(argument)):
            return f"there is no option {argument.partition('=')[0]}{hint}"
    return None
