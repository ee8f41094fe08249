"""Latents as one page, or as a folder of pages with an index."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ae_lightning.explorer.latents.contents import Contents, Manifest
from ae_lightning.explorer.page import inlined

PAGE = Path(__file__).with_name("page")

SHARED = (
    "blocks.js",
    "charts.css",
    "charts.js",
    "dom.js",
    "following.js",
    "keyboard.css",
    "keys.js",
    "link.js",
    "observable.js",
    "paint.js",
    "parts.css",
    "pictures.js",
    "style.css",
)
"""What these pages take from the explorer's own."""

ON_ONE_PAGE, WITH_PICTURES_ON_ONE_PAGE = 4096, 1024
"""A dictionary of more latents gets a folder of pages."""

PER_PAGE = 1024
"""Latents on each page of a folder."""

INDEX = "index.html"


def needs_folder(latents: int, kind: str | None) -> bool:
    """Whether so many latents get a folder of pages.

    Args:
        latents: How many there are.
        kind: What a store says that its samples are; pictures of images take more room than words.
    """
    return latents > (WITH_PICTURES_ON_ONE_PAGE if kind == "images" else ON_ONE_PAGE)


def pages_of(contents: Contents, in_folder: bool) -> Iterator[tuple[str, str]]:
    """Names of files and their texts: the pages of a folder and last their index, or a single page of that name."""
    latents = contents.findings.latents
    if not in_folder:
        yield INDEX, _text(contents, 0, latents, None)
        return
    pages: list[Manifest] = [
        {"file": f"latents-{first:05}.html", "first": first, "count": min(PER_PAGE, latents - first)}
        for first in range(0, latents, PER_PAGE)
    ]
    for page in pages:
        yield page["file"], _text(contents, page["first"], page["count"], pages)
    yield INDEX, _text(contents, 0, 0, pages)


def _text(contents: Contents, first: int, count: int, pages: list[Manifest] | None) -> str:
    manifest, blocks = contents.page(first, count, pages)
    return inlined(manifest, blocks.texts, PAGE, SHARED)
