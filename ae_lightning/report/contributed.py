"""What contributes a section to a report: the class to subclass, and where such classes are found."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from typing import ClassVar

from matplotlib.figure import Figure

from ae_lightning.report.page import Link, Numbers
from ae_lightning.report.reading import TITLES_AND_READINGS
from ae_lightning.report.subject import Subject

Makers = dict[str, Callable[[], Figure]]
"""Figures by name, each with what makes it."""


class SectionMaker:
    """A section of a report. A subclass says what it holds; what it does not say is empty.

    There are three ways to have one in a report. A file in `ae_lightning/report/sections` is found by itself. A variant
    and a data module answer classes of theirs from their method `report_sections`. Makers with one title make one
    section together, so that a figure can join a section that is there.

    Args:
        subject: What the report is about.

    Attributes:
        title: Heading of the section.
        place: Sections stand in this order; those of the package have multiples of 100.
        is_open: Whether the section is unfolded when the page is opened.
        lead: Figures that may stand at the top of the page, each with a number: that of the largest stands there, and
            not in its section.
        readings: Title of each figure, and a sentence on how to read it.

    Example:
        >>> class Waves(SectionMaker):
        ...     title = "Waves"
        ...     readings = {"waves": ("Waves of units", "A line is a unit.")}
        ...
        ...     def figures(self):
        ...         return {"waves": lambda: Figure()}
    """

    title: ClassVar[str]
    place: ClassVar[int] = 550
    is_open: ClassVar[bool] = True
    lead: ClassVar[Mapping[str, int]] = {}
    readings: ClassVar[Mapping[str, tuple[str, str]]] = TITLES_AND_READINGS

    def __init__(self, subject: Subject) -> None:
        self.subject = subject

    def figures(self) -> Makers:
        """The figures that fit the run, by name, which is also that of the file."""
        return {}

    def reading(self, name: str) -> tuple[str, str]:
        """Title of a figure, and how to read it: that of `readings`, unless it depends on the run."""
        return self.readings[name]

    def tables(self) -> list[Numbers]:
        """Tables, above the figures."""
        return []

    def sentences(self) -> list[str]:
        """Paragraphs, at the beginning."""
        return []

    def links(self) -> list[Link]:
        """Links, after the paragraphs."""
        return []


def section_makers(subject: Subject) -> list[SectionMaker]:
    """The makers of a report's sections in the order of the page: ours, the data's and the variant's."""
    contributed = [*subject.data.report_sections(), *subject.model.report_sections()]
    return sorted((kind(subject) for kind in [*_own(), *contributed]), key=lambda maker: maker.place)


def _own() -> list[type[SectionMaker]]:
    """The makers in the files of `ae_lightning.report.sections`."""
    folder = importlib.import_module("ae_lightning.report.sections")
    modules = [
        importlib.import_module(f"{folder.__name__}.{info.name}") for info in pkgutil.iter_modules(folder.__path__)
    ]
    return [
        kind
        for module in modules
        for kind in vars(module).values()
        if isinstance(kind, type) and issubclass(kind, SectionMaker) and kind.__module__ == module.__name__
    ]
