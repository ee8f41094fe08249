"""A report as one HTML page that holds its pictures and loads nothing."""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

# Drawings have few colors; with a palette they take a third of the room, and nobody sees it.
_COLORS = 256
_CODE = re.compile(r"`([^`]+)`")
# The highest level takes four times as long for a page that is 3 % smaller.
_COMPRESSION = 6


@dataclass(frozen=True)
class Picture:
    """A figure as the page shows it.

    Args:
        name: Its name, also that of its file.
        title: What it shows.
        reading: A sentence that says how to read it.
        png: The picture.
    """

    name: str
    title: str
    reading: str
    png: bytes


@dataclass(frozen=True)
class Numbers:
    """A table.

    Args:
        columns: Headings; the first column holds names, the others numbers.
        rows: Cells, as many in each row as there are headings.
        note: A sentence below.
        is_text: Whether the other columns hold words.
    """

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""
    is_text: bool = False


class Link(NamedTuple):
    """What can be clicked, and the address that it leads to, relative to the page."""

    text: str
    address: str


@dataclass
class Section:
    """A part of the page: sentences, links, tables, pictures, and what could not be made."""

    title: str
    sentences: list[str] = field(default_factory=list)
    tables: list[Numbers] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show, not even a problem."""
        return not (self.sentences or self.links or self.tables or self.pictures or self.problems)


def html_page(title: str, sections: Sequence[Section]) -> str:
    """Make the page of the sections that are not empty; the same sections give the same text.

    What stands between backticks in a sentence is shown as code; names and cells are shown as they are.

    Args:
        title: Title of the page.
        sections: Its parts, in order.

    Returns:
        The text of the page, to be written as UTF-8.
    """
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters |= {"anchor": _anchor, "shrunk": _shrunk, "prose": _prose, "plain": _plain}
    shown = [section for section in sections if not section.is_empty]
    return environment.get_template("page.html").render(title=title, sections=shown)


def _prose(sentence: str) -> str:
    """A sentence as HTML, all of it escaped, with what stands between backticks as code."""
    return _CODE.sub(r"<code>\1</code>", html.escape(sentence))


def _plain(sentence: str) -> str:
    """A sentence for where there can be no code, without the backticks around it."""
    return _CODE.sub(r"\1", sentence)


def _shrunk(png: bytes) -> str:
    """A picture in base64, with a palette where that is smaller."""
    smaller = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        image.convert("RGB").quantize(_COLORS, dither=Image.Dither.NONE).save(
            smaller, "PNG", compress_level=_COMPRESSION
        )
    return base64.b64encode(min(smaller.getvalue(), png, key=len)).decode("ascii")


def _anchor(title: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in title.lower())
