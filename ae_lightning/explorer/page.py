"""The page's own files, readable in the source, put into one."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ae_lightning.files import as_json

PAGE = Path(__file__).with_name("page")

PLACEHOLDERS = {"title", "styles", "manifest", "blocks", "modules"}
"""What stands in the page in double braces."""

_PLACEHOLDER = re.compile(r"\{\{(\w+)\}\}")
_INDENT = re.compile(r"^(?:  )+", re.MULTILINE)
# Comments that have lines of their own: they are for readers of the source.
_COMMENT = re.compile(r"^[ \t]*(?://[^\n]*|/\*.*?\*/|<!--.*?-->)[ \t]*\n+", re.MULTILINE | re.DOTALL)


def inlined(
    manifest: Mapping[str, Any], blocks: Mapping[str, str], page: Path = PAGE, shared: Sequence[str] = ()
) -> str:
    """The page with all that it needs.

    Whatever the data say is harmless: it is not looked at for placeholders, and can end no element.

    Args:
        manifest: Numbers and names; its title is that of the page.
        blocks: Arrays as text, by name.
        page: Folder of index.html, the style sheets and the modules.
        shared: Names of those that it takes from the explorer's own.

    Returns:
        The text of one file, which is the same for the same arguments.

    Raises:
        ValueError: The page lacks a placeholder, or has one that is not known.
    """
    files = [*page.iterdir(), *(PAGE / name for name in shared)]
    parts = {
        "title": html.escape(str(manifest["title"])),
        "styles": "\n".join(_code(path) for path in _style_files(files)),
        "manifest": _json(manifest),
        "blocks": "\n".join(_block_element(name, text) for name, text in blocks.items()),
        "modules": "\n".join(_module_element(path) for path in _named(files, ".js")),
    }
    frame = _code(page / "index.html")
    found = set(_PLACEHOLDER.findall(frame))
    if found != PLACEHOLDERS:
        raise ValueError(f"{page / 'index.html'} has the placeholders {sorted(found)}, not {sorted(PLACEHOLDERS)}")
    return _PLACEHOLDER.sub(lambda match: parts[match[1]], frame)


def _style_files(files: Iterable[Path]) -> list[Path]:
    """What all views share comes first, so that a view's own rules win."""
    return sorted(_named(files, ".css"), key=lambda path: path.name != "style.css")


def _named(files: Iterable[Path], suffix: str) -> list[Path]:
    return sorted((path for path in files if path.suffix == suffix), key=lambda path: path.name)


def _json(manifest: Mapping[str, Any]) -> str:
    """JSON that can end no element, as every < in it is in a string."""
    return as_json(manifest, separators=(",", ":")).replace("<", "\\u003c")


def _block_element(name: str, text: str) -> str:
    return f'<script type="application/gzip;base64" data-block="{html.escape(name)}">{text}</script>'


def _module_element(path: Path) -> str:
    # In a string or a regular expression a backslash before these changes nothing; elsewhere they do not occur.
    source = re.sub(r"</(?=script)", r"<\\/", _code(path), flags=re.IGNORECASE).replace("<!--", "<\\!--")
    return f'<script type="text/module" id="{html.escape(path.name)}">\n{source}</script>'


def _code(path: Path) -> str:
    """One of the page's files without comments and empty lines, indented by tabs: a fifth less, and easy to follow."""
    dense = re.sub(r"\n{2,}", "\n", _COMMENT.sub("", _read(path)))
    return _INDENT.sub(lambda spaces: "\t" * (len(spaces[0]) // 2), dense)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")
