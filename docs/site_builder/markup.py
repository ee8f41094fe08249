"""Markdown of what was written for a terminal, or as reStructuredText: help lines and docstrings of other packages."""

import re
import textwrap
from collections.abc import Iterable

_KEPT = re.compile(r"(`[^`]+`|\[[^\]]+\]\(https?://[^)]+\)|(?<![\w`-])--?[A-Za-z](?:[\w.-]*\w)?)")
"""Code, links, and options such as --debug."""


def prose(text: str) -> str:
    """Markdown of a help line: code and options are code, links are links, and no other sign is taken for markup."""
    text = re.sub(r"``([^`]+)``", r"`\1`", text)
    text = re.sub(r"`([^`<]+?) <([^>`]+)>`_+", r"[\1](\2)", text)
    text = re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text)
    text = re.sub(r"\.\. (\w+)::", lambda match: f"{match[1].capitalize()}:", text)
    parts = enumerate(_KEPT.split(text))
    return "".join(_kept(part) if number % 2 else _escaped(part) for number, part in parts)


def _kept(part: str) -> str:
    return code(part) if part.startswith("-") else part


def _escaped(text: str) -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;")
    return re.sub(r"([*_\[\]$\\])", r"\\\1", text)


def code(text: str) -> str:
    """A span of code, whatever is in it."""
    fence = "``" if "`" in text else "`"
    return f"{fence}{text}{fence}"


def paragraphs(blocks: Iterable[str]) -> str:
    """Markdown of a description: paragraphs without their line breaks, and what is indented as it is."""
    return "\n\n".join(_paragraph(block) for block in blocks)


def _paragraph(block: str) -> str:
    heading, _, rest = block.partition("\n")
    if re.match(r"examples?:$", heading):
        return f"**{heading.removesuffix(':').capitalize()}**\n\n{_fenced(rest)}"
    return _fenced(block) if block.startswith(" ") else prose(" ".join(block.split()))


def _fenced(text: str) -> str:
    language = "sh" if text.strip().startswith("ae-lightning") else "text"
    return f"```{language}\n{textwrap.dedent(text)}\n```"


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table; signs that end a cell are escaped."""
    lines = [list(header)]
    lines += [["---"] * len(lines[0]), *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
