"""Pages of the package's rooms: every public class and function, which mkdocstrings reads from the source."""

import ast
import inspect
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import ae_lightning
from site_builder.markup import prose, table

PACKAGE = Path(ae_lightning.__file__).parent
NAME = ae_lightning.__name__

WITHOUT_PAGE = {"cli"}
"""Rooms without a page: of the command line the commands are documented."""

SINGLE = ("errors", "gallery")
"""Files beside the rooms that bring public names."""


class Module(NamedTuple):
    """A file of a room: its dotted name, the first line of its docstring, and its public names with theirs."""

    name: str
    summary: str
    members: dict[str, str]


def rooms() -> list[str]:
    """Names of the rooms and files that have a page, in alphabetical order."""
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")}
    return sorted((folders - WITHOUT_PAGE) | set(SINGLE))


def modules_of(room: str) -> list[Module]:
    """The files of a room that define something public; a file of its own is its only one."""
    folder = PACKAGE / room
    files = sorted(folder.rglob("*.py")) if folder.is_dir() else [folder.with_suffix(".py")]
    return [module for module in map(_module, files) if module.members]


def _module(path: Path) -> Module:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    name = ".".join((NAME, *(part for part in parts if part != "__init__")))
    tree = ast.parse(path.read_text(encoding="utf-8"))
    members = {
        node.name: _first_line(node)
        for node in tree.body
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and not node.name.startswith("_")
    }
    return Module(name, _first_line(tree), members)


def _first_line(node: ast.Module | ast.ClassDef | ast.FunctionDef) -> str:
    return (ast.get_docstring(node) or "").partition("\n\n")[0].replace("\n", " ")


def api_pages() -> dict[str, str]:
    """Markdown of the page of each room, by its path below `reference/`."""
    return {f"{room}.md": _page(room) for room in rooms()}


def _page(room: str) -> str:
    name = f"{NAME}.{room}"
    modules = {module.name: module for module in modules_of(room)}
    own = list(modules.pop(name).members) if name in modules else []
    return "\n\n".join([_reference(name, 1, own), *(_reference(other, 2) for other in modules)])


def _reference(module: str, level: int, members: Sequence[str] | None = None) -> str:
    """What mkdocstrings puts the documentation of a module for.

    Args:
        module: Its dotted name.
        level: Level of its heading.
        members: Names to document; by default all public ones that it defines.
    """
    lines = [f"::: {module}", "    options:", f"      heading_level: {level}"]
    lines.append(f"      show_root_full_path: {json.dumps(level == 1)}")
    if members is not None:
        lines.append(f"      members: {json.dumps(members)}")
    return "\n".join(lines)


def _docstring(path: Path) -> str:
    return _first_line(ast.parse(path.read_text(encoding="utf-8")))


def front_page() -> str:
    """The page that the reference begins with."""
    public = [_public(name) for name in ae_lightning.__all__ if name != "__version__"]
    places = [(f"[`{room}`]({room}.md)", prose(_summary(room))) for room in rooms()]
    return "\n\n".join(
        [
            "# Reference",
            "All of it is made from the package itself: [commands](commands/index.md) and options of "
            "[variants](options/variants.md), [data modules](options/data_modules.md) and "
            "[callbacks](options/callbacks.md) from what `--help` says, classes and functions from their docstrings.",
            f"## What `import {NAME}` offers",
            table(["name", "what it is"], public),
            f"All variants are there too, by their names: `{NAME}.TopKSAE`.",
            "## Rooms of the package",
            table(["room", "what is in it"], places),
        ]
    )


def _public(name: str) -> tuple[str, str]:
    """The row of a name that the package offers: a link to where it is defined, and its first line."""
    thing = getattr(ae_lightning, name)
    summary = inspect.cleandoc(thing.__doc__ or "").partition("\n\n")[0].replace("\n", " ")
    return f"[`{name}`][{thing.__module__}.{name}]", prose(summary)


def _summary(room: str) -> str:
    folder = PACKAGE / room
    return _docstring(folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py"))
