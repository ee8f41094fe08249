"""Help on classes: `--model.help` and its like without a class list those that there are."""

import inspect

from ae_lightning.cli.command_line import CommandLine
from ae_lightning.cli.configs import packaged
from ae_lightning.cli.fit.mistakes import HELP
from ae_lightning.cli.fit.named_classes import classes_for


def class_list(line: CommandLine) -> str | None:
    """The classes of the first option of a line that asks for help without naming one, each with what it is.

    Args:
        line: What was typed.

    Returns:
        Text for people; None where no such help is asked for.
    """
    for option in line.options:
        owner = option.name.removesuffix(HELP)
        if owner != option.name and not option.value and (kinds := classes_for(owner)):
            return _text(owner, kinds)
    return None


def _text(owner: str, kinds: list[type]) -> str:
    names = {kind.__name__: kind for kind in sorted(kinds, key=lambda kind: (not _is_ours(kind), kind.__name__))}
    width = max(map(len, names))
    rows = [f"  {name:<{width}}  {_summary(kind)}".rstrip() for name, kind in names.items()]
    folder = f"{owner.lstrip('-')}/"
    parts = [name.removeprefix(folder) for name in packaged() if name.startswith(folder)]
    packaged_too = [f"or by the name of a packaged part: {', '.join(parts)}"] if parts else []
    return "\n".join([f"{owner} takes a class, which `{owner}.help CLASS` explains:", *rows, *packaged_too])


def _is_ours(kind: type) -> bool:
    return kind.__module__.startswith("ae_lightning.")


def _summary(kind: type) -> str:
    """First line of a class's own docstring; nothing if it has none."""
    doc = inspect.cleandoc(kind.__doc__ or "")
    return doc.partition("\n")[0]
