"""`ae-lightning report`: a run's folder turned into figures and one page that is read from top to bottom."""

import contextlib
import itertools
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ae_lightning.cli.run_command import RunParser, open_readable_run, opened_by, write_animation
from ae_lightning.errors import ConfigError, UserError
from ae_lightning.printable import printable

if TYPE_CHECKING:
    from ae_lightning.report.report import Keep, Tell
    from ae_lightning.report.subject import Subject

_ANIMATION, _UNITS = "Animation", "units in the course of training"
_EXAMPLE = """example:
  ae-lightning report lightning_logs/overcomplete_mnist/version_0 --snapshots 0,50,last --units 100

The run may still be training, or have been interrupted: what there is is shown.
"""


def main(arguments: list[str]) -> int:
    """Write the figures and the page, and say where they are."""
    options = _parser().options(arguments)

    from ae_lightning.files import write_text
    from ae_lightning.report.page import html_page
    from ae_lightning.report.report import Report
    from ae_lightning.report.subject import Subject

    run, checkpoint = open_readable_run(options.run)
    steps = None if options.snapshots is None else _steps(options.snapshots, list(run.snapshots), run.folder)
    folder = options.output or run.folder / "report"
    if options.output is None and options.instance is not None:
        folder /= f"instance_{options.instance}"
    subject = Subject(run, checkpoint, steps, options.units, options.rank_on, folder, options.instance)
    if steps and subject.weights.steps != steps:
        print(f"nearest snapshots: {', '.join(map(str, subject.weights.steps))}", file=sys.stderr)
    report = Report(subject)
    moving = {_ANIMATION: [_UNITS]} if subject.weights.has_animation else {}
    with telling({**report.parts, **moving}) as tell:
        keep = _keeping(folder / "figures")
        opening = report.opening(keep, tell)
        sections = list(report.sections(keep, tell))
        write_text(folder / "report.html", html_page(subject.run.title, sections, opening))
        for problem in (problem for section in sections for problem in section.problems):
            print(f"not drawn: {printable(problem)}", file=sys.stderr)
        animated = _animate(subject, tell) if moving else []
    print(printable(opening.verdict))
    for warning in opening.problems:
        print(f"  {printable(warning)}")
    print(*animated, f"report: {folder / 'report.html'}", f"figures: {folder / 'figures'}", sep="\n")
    print(opened_by(folder / "report.html"))
    return 0


def _parser() -> RunParser:
    parser = RunParser(
        "report",
        "Turn a run into figures and one HTML page: what was trained, its numbers beside baselines, and\n"
        "every figure that fits the variant, with a sentence on how to read it.",
        _EXAMPLE,
    )
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="where to write (default: RUN/report)")
    parser.add_argument(
        "--snapshots",
        metavar="STEPS",
        help="optimizer steps to show side by side, such as 0,50,last; the nearest snapshots are taken (default: some)",
    )
    parser.add_number("--units", least=1, default=64, metavar="N", help="units shown as images (default: 64)")
    parser.add_number(
        "--instance",
        least=0,
        metavar="K",
        help="a page on one instance of a population alone, counted from 0, in RUN/report/instance_K (default: all)",
    )
    parser.add_argument(
        "--rank-on",
        choices=["test", "train"],
        default="test",
        help="samples whose mean activation makes a unit important: the first 1,000 of the test set, or the first "
        "5,000 of the training set, as in the overcomplete experiment (default: test)",
    )
    return parser


def _steps(text: str, taken: Sequence[int], folder: Path) -> list[int]:
    """Steps from `0,50,last`.

    Raises:
        ConfigError: There are no snapshots, or a part is neither a step nor first or last.
    """
    if not taken:
        raise ConfigError(f"--snapshots: there are no weight snapshots in {folder / 'snapshots'}")
    named = {"first": taken[0], "last": taken[-1]}
    steps = []
    for part in text.split(","):
        if part.strip() not in named and not part.strip().isdecimal():
            raise ConfigError(f"--snapshots {text}: {part.strip()!r} is no optimizer step, nor first or last")
        steps.append(named.get(part.strip()) if part.strip() in named else int(part))
    return sorted({int(step) for step in steps if step is not None})


@contextlib.contextmanager
def telling(parts: Mapping[str, Sequence[str]]) -> "Iterator[Tell]":
    """Show how far it is: a bar on a terminal, else a line when a section begins.

    Args:
        parts: What will be told of, by section.

    Yields:
        What is to be called with a section and a part of it before that is made.
    """
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        begun: set[str] = set()

        def line(section: str, part: str) -> None:
            if section not in begun:
                begun.add(section)
                print(f"{section}: {', '.join(parts[section])}", file=sys.stderr)

        yield line
        return
    columns = (BarColumn(20), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=console, transient=True) as bar:
        task, done = bar.add_task("", total=sum(map(len, parts.values()))), itertools.count()
        yield lambda section, part: bar.update(task, completed=next(done), description=f"{section}: {part}")


def _keeping(folder: Path) -> "Keep":
    """What writes each figure as it is made."""
    from ae_lightning.files import write_bytes

    return lambda name, png: write_bytes(folder / f"{name}.png", png)


def _animate(subject: "Subject", tell: "Tell") -> list[str]:
    """Write the units in the course of training as a page and as a GIF; the line that says where they are."""
    tell(_ANIMATION, _UNITS)
    try:
        frames, captions = subject.weights.frames()
    except (ValueError, UserError) as error:
        print(f"not drawn: animation: {printable(str(error))}", file=sys.stderr)
        return []
    page, gif = subject.folder / "units.html", subject.folder / "figures" / "units.gif"
    write_animation(frames, captions, subject.run.title, page, gif)
    return [f"animation: {page}, {gif}"]
