"""The report of a run: its verdict, its leading picture, and the sections that are contributed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import NamedTuple

from matplotlib.figure import Figure

from ae_lightning.errors import UserError
from ae_lightning.evaluation.verdict import Verdict, numbers_beside, verdict
from ae_lightning.plots.raster import as_png, render
from ae_lightning.report.contributed import SectionMaker, section_makers
from ae_lightning.report.findings import findings
from ae_lightning.report.overview import model_and_data
from ae_lightning.report.page import Opening, Picture, Section
from ae_lightning.report.subject import Subject

SUMMARY = "Summary"
_NUMBERS = "numbers and baselines"
_DPI = 110

Keep = Callable[[str, bytes], None]
Tell = Callable[[str, str], None]


class _Figure(NamedTuple):
    """A figure, and the section that it is of."""

    maker: SectionMaker
    name: str
    make: Callable[[], Figure]


class Report:
    """What a page says of a run, made piece by piece.

    Args:
        subject: The run, its model and its data.
    """

    def __init__(self, subject: Subject) -> None:
        self.subject = subject

    @property
    def parts(self) -> dict[str, list[str]]:
        """What is made, by section, in the order in which it is made."""
        lead = [self._lead.name] if self._lead else []
        sections = {title: [figure.name for figure in self._shown(makers)] for title, makers in self._sections}
        return {SUMMARY: [_NUMBERS, *lead], **{title: names for title, names in sections.items() if names}}

    @cached_property
    def verdict(self) -> Verdict:
        """Whether the model is any good."""
        return verdict(self.subject.results, self.subject.pca_of_active, bool(self.subject.run.results))

    def warnings(self) -> list[str]:
        """What else a reader should know, a sentence each."""
        run = self.subject.run
        sentences = findings(self.subject.results, self.subject.series("val/loss"), bool(run.results))
        if run.snapshots.damaged:
            sentences.append(
                f"Snapshots that are missing or damaged were left out: {', '.join(run.snapshots.damaged)}."
            )
        return sentences

    def opening(self, keep: Keep, tell: Tell) -> Opening:
        """What the page opens with: what was asked, the verdict, its numbers, and a picture.

        Args:
            keep: Called with the name and the PNG of the picture.
            tell: Called with a section and a part of it, as `parts` has them, before the part is made.
        """
        tell(SUMMARY, _NUMBERS)
        opening = Opening(
            asked=self.subject.run.purpose,
            about=model_and_data(self.subject.results),
            grade=self.verdict.grade,
            verdict=self.verdict.sentence,
            numbers=numbers_beside(self.subject.results, self.subject.pca_of_active),
            problems=self.warnings(),
        )
        if self._lead:
            tell(SUMMARY, self._lead.name)
            _draw(self._lead, opening, keep)
        return opening

    def sections(self, keep: Keep, tell: Tell) -> Iterator[Section]:
        """The sections one by one, in the order of the page; for the arguments see `opening`."""
        for title, makers in self._sections:
            section = Section(title, is_open=any(maker.is_open for maker in makers))
            for maker in makers:
                section.sentences += maker.sentences()
                section.links += maker.links()
                section.tables += maker.tables()
            for figure in self._shown(makers):
                tell(title, figure.name)
                _draw(figure, section, keep)
            yield section

    @cached_property
    def _sections(self) -> list[tuple[str, list[SectionMaker]]]:
        """Titles of the sections in the order of the page, each with the makers that share it."""
        sections: dict[str, list[SectionMaker]] = {}
        for maker in section_makers(self.subject):
            sections.setdefault(maker.title, []).append(maker)
        return list(sections.items())

    @cached_property
    def _figures(self) -> list[_Figure]:
        makers = [maker for _, makers in self._sections for maker in makers]
        return [_Figure(maker, name, make) for maker in makers for name, make in maker.figures().items()]

    @cached_property
    def _lead(self) -> _Figure | None:
        """The figure that says most of the run; None where none may stand at the top."""
        leading = [figure for figure in self._figures if figure.name in figure.maker.lead]
        return max(leading, key=lambda figure: figure.maker.lead[figure.name], default=None)

    def _shown(self, makers: Sequence[SectionMaker]) -> list[_Figure]:
        """The figures of a section, without the one that leads the page."""
        return [figure for figure in self._figures if figure.maker in makers and figure is not self._lead]


def _draw(figure: _Figure, into: Section | Opening, keep: Keep) -> None:
    """Draw a figure into a part of the page, or say there why it could not be drawn."""
    title, reading = figure.maker.reading(figure.name)
    try:
        png = as_png(render(figure.make(), _DPI), _DPI)
    except (ValueError, UserError) as error:
        into.problems.append(f"{title}: {error}")
    else:
        keep(figure.name, png)
        into.pictures.append(Picture(figure.name, title, reading, png))
