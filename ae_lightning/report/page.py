"""A report as one HTML page that holds its pictures and loads nothing."""

from __future__ import annotations

import base64
import html
import io
import urllib.parse
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import NamedTuple

from PIL import Image

_TEMPLATE = Path(__file__).with_name("page.html")
# Drawings have few colors; with a palette they take a third of the room, and nobody sees it.
_COLORS = 256


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

    Args:
        title: Title of the page.
        sections: Its parts, in order.

    Returns:
        The text of the page, to be written as UTF-8.
    """
    shown = [section for section in sections if not section.is_empty]
    links = "".join(f'<li><a href="#{_anchor(part.title)}">{html.escape(part.title)}</a></li>' for part in shown)
    body = "\n".join(map(_section, shown))
    template = Template(_TEMPLATE.read_text(encoding="utf-8"))
    return template.substitute(title=html.escape(title), links=links, body=body)


def _section(section: Section) -> str:
    parts = [f'<section id="{_anchor(section.title)}"><h2>{html.escape(section.title)}</h2>']
    parts += [f"<p>{html.escape(sentence)}</p>" for sentence in section.sentences]
    parts += [f'<p><a href="{_address(link)}">{html.escape(link.text)}</a></p>' for link in section.links]
    parts += [f'<p class="problem">{html.escape(problem)}</p>' for problem in section.problems]
    parts += map(_table, section.tables)
    parts += map(_figure, section.pictures)
    return "\n".join([*parts, "</section>"])


def _table(table: Numbers) -> str:
    head = "".join(f'<th scope="col">{html.escape(column)}</th>' for column in table.columns)
    rows = "".join(_row(cells) for cells in table.rows)
    note = f"<p>{html.escape(table.note)}</p>" if table.note else ""
    kind = ' class="text"' if table.is_text else ""
    return f'<div class="wide"><table{kind}><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>{note}'


def _row(cells: Sequence[str]) -> str:
    name, *numbers = (html.escape(cell) for cell in cells)
    return f'<tr><th scope="row">{name}</th>' + "".join(f"<td>{number}</td>" for number in numbers) + "</tr>"


def _figure(picture: Picture) -> str:
    data = base64.b64encode(_smaller(picture.png)).decode("ascii")
    title, reading = html.escape(picture.title), html.escape(picture.reading)
    image = f'<img src="data:image/png;base64,{data}" alt="{title}. {reading}">'
    anchor, caption = _anchor(picture.name), f"<figcaption>{reading}</figcaption>"
    return f'<figure id="figure-{anchor}"><h3>{title}</h3>{image}{caption}</figure>'


def _smaller(png: bytes) -> bytes:
    smaller = io.BytesIO()
    with Image.open(io.BytesIO(png)) as image:
        image.convert("RGB").quantize(_COLORS, dither=Image.Dither.NONE).save(smaller, "PNG", optimize=True)
    return min(smaller.getvalue(), png, key=len)


def _address(link: Link) -> str:
    return html.escape(urllib.parse.quote(link.address))


def _anchor(title: str) -> str:
    return "".join(letter if letter.isalnum() else "-" for letter in title.lower())
