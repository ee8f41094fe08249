"""The page of a lab, and its leaderboard alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ae_lightning.errors import UserError
from ae_lightning.evaluation.lab.results import Results
from ae_lightning.evaluation.lab.sentences import sentences_of
from ae_lightning.plots.raster import as_png, render
from ae_lightning.report.lab.board import board_tables, difference_tables
from ae_lightning.report.lab.pictures import Drawing, failing, missing, recovered, single
from ae_lightning.report.page import Numbers, Picture, Section, html_page

_DPI = 110


def leaderboard_page(results: Results) -> str:
    """The leaderboard and what it says, as HTML."""
    return html_page(_title(results), [_leaderboard(results), _differences(results)])


def lab_page(results: Results, tell: Callable[[str], None]) -> str:
    """All of a lab, as HTML.

    Args:
        results: What came out.
        tell: Called with the title of each figure before it is drawn.
    """
    return html_page(_title(results), list(_sections(results, tell)))


def _sections(results: Results, tell: Callable[[str], None]) -> Iterator[Section]:
    yield _leaderboard(results)
    for title, makers in (
        ("What is recovered", recovered(results)),
        ("How latents fail", failing(results)),
        ("What is missed", missing(results)),
        ("One dictionary of each", single(results)),
    ):
        yield _drawn(Section(title), makers, tell)
    yield _differences(results)
    yield Section("Settings", tables=[_settings(results)])


def _title(results: Results) -> str:
    return f"Lab: {results.about['world']}"


def _leaderboard(results: Results) -> Section:
    about = results.about
    models, seeds = len(results.models), len(results.board.seeds)
    opening = (
        f"{models} model{'s' * (models != 1)} on {about['world']} ({about['features']:,} features in {about['dim']:,} "
        f"dimensions, {about['mean_l0']:.3g} of them in a sample), {about['latents']:,} latents, "
        f"{about['steps']:,} steps, {seeds} seed{'s' * (seeds != 1)}; measured on {about['samples']:,} fresh samples."
    )
    return Section("Leaderboard", [opening, *sentences_of(results.board)], board_tables(results.board))


def _differences(results: Results) -> Section:
    return Section("All differences", tables=difference_tables(results.board), is_open=False)


def _settings(results: Results) -> Numbers:
    rows = [[name, _text(value)] for name, value in results.about.items()]
    return Numbers(["setting", "value"], rows, is_text=True)


def _text(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _drawn(section: Section, drawings: list[Drawing], tell: Callable[[str], None]) -> Section:
    """The section with its figures, or with what kept one from being drawn."""
    for drawing in drawings:
        tell(drawing.title)
        try:
            png = as_png(render(drawing.make(), _DPI), _DPI)
        except (ValueError, UserError) as error:
            section.problems.append(f"{drawing.title}: {error}")
        else:
            section.pictures.append(Picture(drawing.name, drawing.title, drawing.reading, png))
    return section
