"""A report as one HTML page that holds its pictures and loads nothing."""

from __future__ import annotations

import base64
import hashlib
import html
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from PIL import Image

from ae_lightning.evaluation.verdict import Beside, Grade

# Drawings have few colors; with a palette they take a third of the room, and nobody sees it.
_COLORS = 256
_CODE = re.compile(r"`([^`]+)`")
# The highest level takes four times as long for a page that is 3 % smaller.
_COMPRESSION = 6
_FOLDER = Path(__file__).parent
# Pixels of a picture up to which it takes half of the page's width: letters of 10 points are then 9 pixels high.
_NARROW = 940
# That from which on a drawing is shrunk so much that it may be higher than others.
_LARGE = 1300
# That of one that is no wider than high, such as a grid of images, whose letters say less.
_NARROW_GRID = 1000

# Part of its width from which on the height of a wide drawing would shrink its letters, and it may be higher.
_HIGH = 0.7


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
class Opening:
    """What a page opens with.

    Args:
        asked: What the run was for, in the words of its config; may be empty.
        about: What was trained on what, in a line.
        grade: Whether it is any good, which gives the verdict its color.
        verdict: The same in a sentence, with its reason.
        numbers: What says so, beside what it must beat.
        problems: What else a reader should know.
        pictures: One at most.
    """

    asked: str
    about: str
    grade: Grade
    verdict: str
    numbers: Sequence[Beside]
    problems: list[str] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)


@dataclass
class Section:
    """A part of the page: sentences, links, tables, pictures, and what could not be made."""

    title: str
    sentences: list[str] = field(default_factory=list)
    tables: list[Numbers] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    is_open: bool = True

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to show, not even a problem."""
        return not (self.sentences or self.links or self.tables or self.pictures or self.problems)


def html_page(title: str, sections: Sequence[Section], opening: Opening | None = None) -> str:
    """Make the page of the sections that are not empty; the same sections give the same text.

    What stands between backticks in a sentence is shown as code; names and cells are shown as they are. A picture whose
    title is that of its section, or of an earlier picture, gets no heading of its own.

    Args:
        title: Title of the page.
        sections: Its parts, in order.
        opening: What stands above them.

    Returns:
        The text of the page, to be written as UTF-8.
    """
    environment = Environment(
        loader=FileSystemLoader(_FOLDER), autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True
    )
    environment.filters |= {
        "anchor": _anchor,
        "shrunk": _shrunk,
        "prose": _prose,
        "plain": _plain,
        "described": _described,
        "shape": _shape,
    }
    shown = [section for section in sections if not section.is_empty]
    style, script = ((_FOLDER / f"page.{kind}").read_text(encoding="utf-8").strip() for kind in ("css", "js"))
    return environment.get_template("page.html").render(
        title=title,
        sections=shown,
        opening=opening,
        headed=_headed(opening, shown),
        style=style,
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii"),
    )


def _headed(opening: Opening | None, sections: Sequence[Section]) -> set[str]:
    """Names of the pictures that have a heading, so that none stands on the page twice."""
    said, headed = {section.title for section in sections}, set()
    pictures = [picture for section in sections for picture in section.pictures]
    for picture in [*(opening.pictures if opening else []), *pictures]:
        if picture.title not in said:
            headed.add(picture.name)
        said.add(picture.title)
    return headed


def _described(picture: Picture) -> str:
    """What a picture shows, for those who do not see it."""
    end = "" if picture.title.endswith(("?", "!", ".")) else "."
    return f"{picture.title}{end} {_plain(picture.reading)}"


def _shape(picture: Picture) -> str:
    """How much room a picture takes, as a class of the style: a row of its own, or more height."""
    with Image.open(io.BytesIO(picture.png)) as image:
        width, height = image.size
    if width <= height and width <= _NARROW_GRID:
        return "tall"
    if width <= _NARROW:
        return "small"
    if height > _HIGH * width:
        return "wide high"
    return "wide large" if width > _LARGE else "wide"


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
