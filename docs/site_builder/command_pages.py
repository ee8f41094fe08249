"""Pages of the commands and of the classes that the command line takes, made from what their help says."""

import inspect
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ae_lightning.cli.fit.named_classes import classes_for
from ae_lightning.cli.fit.setting_checks import FROM_DATA
from ae_lightning.cli.main import COMMANDS, TRAINER_COMMANDS
from site_builder.help_text import Group, Help, Option, help_of
from site_builder.markup import code, paragraphs, prose, table

_OF_CLASSES = ".help"
_FIT = "fit"


class Kind(NamedTuple):
    """What some option takes by its class.

    Args:
        page: Name of the page.
        title: Its heading.
        option: The option.
        room: The room that they are in; what others wrote is not listed.
        told: What the page begins with.
    """

    page: str
    title: str
    option: str
    room: str
    told: str


KINDS = (
    Kind("variants", "Options of variants", "model", "models", "`--model NAME` chooses a variant."),
    Kind("data_modules", "Options of data modules", "data", "data", "`--data NAME` chooses a data module."),
    Kind(
        "callbacks",
        "Options of callbacks",
        "trainer.callbacks",
        "callbacks",
        "`--trainer.callbacks+=NAME` adds a callback to those of every run. In a config it is an entry of "
        "`trainer.callbacks`, with its options below `init_args`.",
    ),
)
"""The pages of classes."""


def command_pages() -> dict[str, str]:
    """Markdown of the page of each command and of each kind of class, by its path below `reference/`."""
    fit = help_of(_FIT, "--help")
    pages = {"commands/index.md": _overview(), f"commands/{_FIT}.md": _page(_FIT, fit)}
    for name in (name for name in TRAINER_COMMANDS if name != _FIT):
        pages[f"commands/{name}.md"] = _beside_fit(name, help_of(name, "--help"), fit)
    pages |= {f"commands/{name}.md": _page(name, help_of(name, "--help")) for name in COMMANDS}
    return pages | {f"options/{kind.page}.md": _classes(kind) for kind in KINDS}


def command_lines() -> dict[str, str]:
    """Each command with a line of what it does."""
    return TRAINER_COMMANDS | {name: line for name, (_, line) in COMMANDS.items()}


def _overview() -> str:
    rows = [(f"[`{name}`]({name}.md)", prose(line)) for name, line in command_lines().items()]
    common = help_of("--help")
    return "\n\n".join(
        [
            "# Commands",
            paragraphs(common.description),
            "```sh\nae-lightning COMMAND --help\n```",
            table(["command", "what it does"], rows),
            *_groups(group for group in common.groups if group.title == "options"),
        ]
    )


def _page(name: str, told: Help) -> str:
    return "\n\n".join([*_beginning(name, told), *_groups(told.groups), paragraphs(told.ending)]).rstrip()


def _beginning(name: str, told: Help) -> Iterator[str]:
    yield f"# `ae-lightning {name}`"
    if name in TRAINER_COMMANDS:
        yield TRAINER_COMMANDS[name]
        yield f"```text\nae-lightning {name} [options]\n```"
        yield (
            "Each option that takes a class has a `.help` beside it: `--model.help` lists the variants, and "
            "`--model.help NAME` explains one."
        )
    else:
        yield paragraphs(told.description[:1])
        yield f"```text\n{textwrap.fill(told.usage, 76, subsequent_indent='    ', break_long_words=False)}\n```"
        yield paragraphs(told.description[1:])


def _beside_fit(name: str, told: Help, fit: Help) -> str:
    """The page of a command that shares most options with fit: what is its own, and the names of the others."""
    known = set(fit.options)
    own = [Group(group.title, [option for option in group.options if option not in known]) for group in told.groups]
    shared = [option for option in _shown(told.options) if option in known]
    links = ", ".join(f"[`--{option.key}`]({_FIT}.md#{option.key})" for option in shared)
    return "\n\n".join([*_beginning(name, told), *_groups(own), f"## As in `{_FIT}`", links])


def _groups(groups: Iterable[Group]) -> Iterator[str]:
    for group in groups:
        if options := list(_shown(group.options)):
            yield from _heading(group.title, options)
            yield _list(options)


def _heading(title: str, options: Sequence[Option]) -> Iterator[str]:
    """A heading for options: what their names begin with, and below it what the parser says of them."""
    plain = {"options": "Options", "positional arguments": "Arguments"}
    first = options[0].key
    if title in plain:
        yield f"## {plain[title]}"
    elif all(option.key.startswith(f"{first}.") for option in options[1:]):
        yield f"## `--{first}`"
        yield prose(title)
    else:
        yield "## Of this command"


def _shown(options: Iterable[Option]) -> Iterator[Option]:
    return (option for option in options if not option.key.endswith(_OF_CLASSES))


def _list(options: Sequence[Option], prefix: str = "") -> str:
    """A definition list; each option has an anchor of its name, behind a prefix where a page has it more than once."""
    return "\n\n".join(_item(option, prefix) for option in options)


def _item(option: Option, prefix: str) -> str:
    names = option.names.replace("\b", "")
    place = f"{prefix}{option.key}"
    lines = [f"[{code(names)}](#{place}){{ #{place} .option }}", f":   {prose(option.text) or '—'}"]
    facts = [f"{word} {code(value)}" for word, value in (("type", option.type), ("default", option.default)) if value]
    if facts:
        lines.append(f"\n    <small markdown>{', '.join(facts)}</small>")
    return "\n".join(lines)


def _classes(kind: Kind) -> str:
    """The page of all classes of ours that an option takes, with the options of each."""
    home = f"ae_lightning.{kind.room}."
    ours = [
        found for found in classes_for(f"--{kind.option}") if found.__module__.startswith(home) and _can_be_named(found)
    ]
    sections = [_class(kind, found) for found in sorted(ours, key=lambda found: found.__name__)]
    return "\n\n".join([f"# {kind.title}", kind.told, *sections])


def _can_be_named(found: type) -> bool:
    """Whether a class stands where it says; one that another program defined, and called ours, does not."""
    return getattr(sys.modules.get(found.__module__), found.__name__, None) is found


def _class(kind: Kind, found: type) -> str:
    name = found.__name__
    told = help_of(_FIT, f"--{kind.option}.help", name)
    summary = prose(" ".join(inspect.cleandoc(found.__doc__ or "").partition("\n\n")[0].split()))
    from_data = [f"{kind.option}.{name}" for name in FROM_DATA]
    options = [option for option in _shown(told.options) if option.key not in from_data]
    body = _list(options, f"{name}.") if options else "It has no options."
    return f"## {name}\n\n{summary}\n\nIn Python: [`{name}`][{found.__module__}.{name}].\n\n{body}"
