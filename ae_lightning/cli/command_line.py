"""What was typed: a command and its options, read once, in the way that the parser will read them."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

CONFIG = "--config"

_SHORT = {"-c": CONFIG, "-h": "--help"}
_NEGATIVE_NUMBER = re.compile(r"-\d+|-\d*\.\d+")  # as argparse has it


class Option(NamedTuple):
    """One option, or a word that belongs to none."""

    name: str  #: with its dashes, in full for -c and -h; empty for a word
    value: str | None  #: None where there is none; the word itself
    typed: tuple[str, ...]  #: the arguments that it was read from

    def with_value(self, value: str) -> "Option":
        """The same option with another value, in the same spelling."""
        head = self.typed[0]
        if len(self.typed) > 1:
            return self._replace(value=value, typed=(head, value))
        if not self.name:
            return self._replace(value=value, typed=(value,))
        start = head[: head.index("=") + 1] if "=" in head else head[:2]
        return self._replace(value=value, typed=(start + value,))


class CommandLine:
    """The arguments of a command as options in their order, each with its value.

    Of an option that is given twice the last value counts, as in argparse. An argument that begins with a dash is an
    option unless it is a negative number; what follows it is its value unless that is an option itself.

    Args:
        arguments: Arguments without the program's name.

    Example:
        >>> line = CommandLine(["fit", "-c", "digits", "--model.latent_dim=8", "--model.latent_dim", "16"])
        >>> line.command, line.last("--config"), line.last("--model.latent_dim")
        ('fit', 'digits', '16')
    """

    def __init__(self, arguments: Iterable[str]) -> None:
        self.options = tuple(_read(list(arguments)))

    @property
    def arguments(self) -> list[str]:
        """The arguments as they were typed."""
        return [argument for option in self.options for argument in option.typed]

    @property
    def command(self) -> str:
        """The first word that belongs to no option; empty if there is none."""
        return next((option.value for option in self.options if not option.name and option.value), "")

    def values(self, *names: str) -> list[str]:
        """Values of all options of these names, in their order."""
        return [option.value for option in self.options if option.name in names and option.value is not None]

    def last(self, *names: str) -> str | None:
        """The value that counts among options of these names, the last one; None if there is none."""
        return next(reversed(self.values(*names)), None)

    def has(self, *names: str) -> bool:
        """Whether an option of one of these names is given, with a value or without."""
        return any(option.name in names for option in self.options)

    @property
    def config_files(self) -> list[Path]:
        """Files named with --config, as far as there are such files."""
        return [path for path in map(Path, self.values(CONFIG)) if is_file(path)]

    def rewritten(self, rewrite: Callable[[Option], Iterable[Option]]) -> "CommandLine":
        """A line in which each option is replaced by those that `rewrite` makes of it."""
        return CommandLine(argument for option in self.options for new in rewrite(option) for argument in new.typed)

    def with_first(self, *arguments: str) -> "CommandLine":
        """A line with further options right after the command, so that those there are count more."""
        typed = self.arguments
        place = typed.index(self.command) + 1 if self.command else 0
        return CommandLine([*typed[:place], *arguments, *typed[place:]])

    def split_after(self, *names: str) -> tuple[list[str], list[str]]:
        """The arguments up to the last option of these names, and those behind it."""
        count = max((i + 1 for i, option in enumerate(self.options) if option.name in names), default=0)
        place = sum(len(option.typed) for option in self.options[:count])
        return self.arguments[:place], self.arguments[place:]


def apart_from_data(arguments: Iterable[str]) -> tuple[list[str], list[str]]:
    """The arguments of a command without options of data, and these: `--data` and `--data.…`."""
    ours: list[str] = []
    of_data: list[str] = []
    for option in CommandLine(arguments).options:
        is_data = option.name == "--data" or option.name.startswith("--data.")
        (of_data if is_data else ours).extend(option.typed)
    return ours, of_data


def is_file(path: Path) -> bool:
    """Whether there is such a file; False where the name is too long, or otherwise unfit, to be a path."""
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _read(arguments: Sequence[str]) -> Iterator[Option]:
    place = 0
    while place < len(arguments):
        argument = arguments[place]
        place += 1
        if not _is_option(argument):
            yield Option("", argument, (argument,))
            continue
        name, equals, value = argument.partition("=")
        if not name.startswith("--") and name[:2] in _SHORT:
            glued = argument[2:].removeprefix("=")
            name, equals, value = _SHORT[name[:2]], glued, glued
        if equals:
            yield Option(name, value, (argument,))
        elif place < len(arguments) and not _is_option(arguments[place]) and name != "--help":
            yield Option(name, arguments[place], (argument, arguments[place]))
            place += 1
        else:
            yield Option(name, None, (argument,))


def _is_option(argument: str) -> bool:
    return len(argument) > 1 and argument.startswith("-") and not _NEGATIVE_NUMBER.fullmatch(argument)
