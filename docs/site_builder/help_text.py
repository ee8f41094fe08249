"""What `ae-lightning … --help` says, taken apart: usage, description, and each option with its type and default.

The help is read instead of the parsers' objects, so that a page says what the command says, whichever parser it has.
"""

import contextlib
import io
import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple
from unittest import mock

from ae_lightning.cli.main import main

_WIDE = "100000"
"""Columns of a terminal in which no line of help is broken."""

_PASSED_ON = "Linked arguments:"
"""Heading of what is no option: the parser passes one setting on to another."""


class Option(NamedTuple):
    """One option or positional argument of a command.

    Args:
        names: What is typed, such as `-o DIR, --output DIR`.
        text: What it does.
        type: What it takes; empty where the help does not say.
        default: What is taken without it; empty where the help does not say.
        known: Classes that it takes by name; empty where it takes none.
    """

    names: str
    text: str
    type: str = ""
    default: str = ""
    known: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        """The longest name without its dashes, or the name of a positional argument: `trainer.max_epochs`."""
        typed = re.findall(r"(?<![\w.])-{1,2}([A-Za-z][\w.+-]*)", self.names)
        return max(typed, key=len).rstrip("+") if typed else self.names.split()[0].lower()


@dataclass
class Group:
    """Options under one heading."""

    title: str
    options: list[Option] = field(default_factory=list)


@dataclass
class Help:
    """One page of help.

    Args:
        usage: How it is called, in one line.
        description: Paragraphs, each with its own line breaks and indentation.
        groups: Its options, by heading.
        ending: Paragraphs after the options.
    """

    usage: str
    description: list[str] = field(default_factory=list)
    groups: list[Group] = field(default_factory=list)
    ending: list[str] = field(default_factory=list)

    @property
    def options(self) -> Iterator[Option]:
        """All options, group after group."""
        return (option for group in self.groups for option in group.options)


def help_of(*arguments: str) -> Help:
    """Run `ae-lightning` in this process with arguments that end in printing help, and take it apart.

    Args:
        *arguments: Such as `"fit", "--help"`.

    Raises:
        ValueError: It printed no help.
    """
    printed = io.StringIO()
    with (
        mock.patch.dict(os.environ, COLUMNS=_WIDE),
        mock.patch.object(sys, "argv", ["ae-lightning", *arguments]),
        contextlib.redirect_stdout(printed),
        contextlib.suppress(SystemExit),
    ):
        main(list(arguments))
    return read_help(printed.getvalue())


def read_help(text: str) -> Help:
    """Take apart what argparse or jsonargparse printed into a terminal of any width.

    Raises:
        ValueError: It begins with no usage.
    """
    if not text.startswith("usage: "):
        raise ValueError(f"this is no help of a command: {text[:200]!r}")
    usage, *blocks = text.strip("\n").split("\n\n")
    found = Help(" ".join(usage.removeprefix("usage: ").split()))
    for block in blocks:
        title, _, rest = block.partition("\n")
        if title == _PASSED_ON:
            continue
        if title.endswith(":") and re.match(r"  \S", rest) and not title.startswith(("example", " ")):
            found.groups.append(Group(title.removesuffix(":"), _options(rest)))
        elif found.groups:
            found.ending.append(block)
        else:
            found.description.append(block)
    return found


def _options(text: str) -> list[Option]:
    """Options of a group: two spaces, the names, and the help beside them or in the next line."""
    options: list[Option] = []
    names, told = "", ""
    for line in [*text.split("\n"), "  "]:
        if re.match(r"  (\S|$)", line):
            if names:
                options.append(_option(names, " ".join(told.split())))
            names, _, told = line.strip().partition("  ")
        else:
            told += f" {line}"
    return options


def _option(names: str, told: str) -> Option:
    """An option of its names and its help, at whose end jsonargparse puts a type, a default and known classes."""
    match = re.fullmatch(r"(.*?)\s*\((required, )?type: (.*)\)", told)
    if match is None:
        return Option(names, told)
    rest, _, known = match[3].partition(", known subclasses: ")
    kind, _, default = rest.partition(", default: ")
    return Option(names, match[1], kind, default, tuple(known.split(", ")) if known else ())
