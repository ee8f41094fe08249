"""A Markdown extension: a class of ours that is named as code, in a guide or a docstring, links to its reference."""

from collections import Counter
from functools import cache
from xml.etree.ElementTree import Element

from markdown import Extension, Markdown
from markdown.treeprocessors import Treeprocessor

from site_builder.api_pages import modules_of, rooms

_WITHOUT_LINKS = {"a", "autoref", "pre", *(f"h{level}" for level in range(1, 7))}


@cache
def places() -> dict[str, str]:
    """The dotted path of each public class by its name; names that two classes have are left out."""
    found = [
        (name, f"{module.name}.{name}")
        for room in rooms()
        for module in modules_of(room)
        for name in module.members
        if name[0].isupper()
    ]
    count = Counter(name for name, _ in found)
    return {name: path for name, path in found if count[name] == 1}


class Names(Treeprocessor):
    """Wraps code that is the name of a class into a reference, which Zensical resolves once it knows all pages."""

    def run(self, root: Element) -> None:
        """Link the names below an element."""
        for parent in list(_open(root)):
            for index, child in enumerate(parent):
                path = places().get(child.text or "") if child.tag == "code" and not len(child) else None
                if path:
                    link = Element("autoref", {"identifier": path})
                    link.tail, child.tail = child.tail, None
                    link.append(child)
                    parent[index] = link


def _open(element: Element) -> list[Element]:
    """An element and those below it in which a link may stand."""
    if element.tag in _WITHOUT_LINKS:
        return []
    return [element, *(below for child in element for below in _open(child))]


class NamesExtension(Extension):
    """Runs after all inline patterns."""

    def extendMarkdown(self, md: Markdown) -> None:
        """Register the processor."""
        md.treeprocessors.register(Names(md), "names", 4)


def makeExtension(**kwargs: object) -> NamesExtension:
    """What Markdown calls to make the extension."""
    return NamesExtension(**kwargs)
