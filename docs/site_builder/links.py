"""Follows the links of built HTML: each has to lead to a file that is there, and to a place in it."""

from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

_SHOWN = {"link": "href", "img": "src", "script": "src", "source": "src", "video": "src", "iframe": "src"}
"""What a page brings: attributes by element."""

_ABROAD = ("http", "https", "mailto")
_EMBEDDED = ("data", "javascript")


class Link(NamedTuple):
    """An address in a page, and whether the page shows what is there."""

    address: str
    is_shown: bool


class _Page(HTMLParser):
    """The links of a page, and the places in it that a link can name."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.links: dict[Link, None] = {}
        self.places: set[str] = set()
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep what matters of an element."""
        given = dict(attrs)
        self.places.update(value for key in ("id", "name") if (value := given.get(key)))
        address = given.get("href" if tag == "a" else _SHOWN.get(tag, ""))
        if address is not None:
            self.links[Link(address, tag != "a")] = None


class _Site:
    """The pages of a folder, each read once."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        self.page = cache(_Page)

    def problem_of(self, link: Link, path: Path) -> str:
        """What is wrong with a link of a page; empty where it leads somewhere."""
        address = urlsplit(link.address)
        if address.scheme in _EMBEDDED:
            return ""
        if address.scheme or address.netloc:
            return "the page shows what it does not bring" if link.is_shown else _fault_of_form(link.address)
        if address.path.startswith("/"):
            return "it begins at the root of a server, and there is none"
        target = (path.parent / unquote(address.path)).resolve() if address.path else path
        if not target.is_file() or not target.is_relative_to(self.folder):
            return "there is no such file"
        place = unquote(address.fragment)
        if place and target.suffix == ".html" and place not in self.page(target).places:
            return "the page has no such place"
        return ""


def broken_links(folder: Path) -> list[str]:
    """Sentences about the links of a site's pages that lead nowhere.

    A link to another site is held to its form only, so that no network is needed.

    Args:
        folder: Folder of the built site.
    """
    site = _Site(folder)
    return [
        f"{path.relative_to(site.folder)} links to {link.address!r}: {problem}"
        for path in sorted(site.folder.rglob("*.html"))
        for link in site.page(path).links
        if (problem := site.problem_of(link, path))
    ]


def _fault_of_form(link: str) -> str:
    address = urlsplit(link)
    if address.scheme not in _ABROAD:
        return "it has no scheme that a browser follows, such as https"
    if any(sign.isspace() for sign in link):
        return "an address has no blanks"
    place = address.path if address.scheme == "mailto" else address.netloc
    return "" if "." in place and ("@" in place or address.scheme != "mailto") else "it names no server"
