"""A sweep at work: which runs are left, what is written as each ends, and what people see of it."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from ae_lightning.cli.main import INTERRUPTED as CODE_INTERRUPTED
from ae_lightning.cli.sweep.grid import run_name, text_of
from ae_lightning.cli.sweep.results import (
    TABLE,
    Row,
    compared_by,
    measured,
    points_of,
    print_points,
    read_statuses,
    settings_of,
    verdict,
    write_rows,
)
from ae_lightning.cli.sweep.runs import (
    FAILED,
    FINISHED,
    INTERRUPTED,
    LOG,
    STARTED,
    TRAINED,
    Event,
    finished_version,
    is_trained,
    newest_version,
    run_all,
)
from ae_lightning.cli.sweep.settings import PlannedRun
from ae_lightning.cli.tables import PlainConsole, table_console
from ae_lightning.evaluation.frontier import frontier_lines
from ae_lightning.files import replacing
from ae_lightning.numerals import numeral
from ae_lightning.plots.figure import Figure
from ae_lightning.plots.frontier import frontier
from ae_lightning.plots.sweep import sweep_figure
from ae_lightning.run.results import known

FIGURE, FRONTIER = "sweep.png", "frontier.png"

_CODE_FAILED = 1


class Session:
    """The runs of a sweep's folder, those of earlier commands too, while one command works on them.

    Args:
        folder: The sweep's.
        keys: Short names of the swept keys.
        known: All runs by the names of their folders: their `values` and `seed`.
    """

    def __init__(self, folder: Path, keys: list[str], known: dict[str, Any]) -> None:
        self.folder = folder
        self.keys = keys
        self.known = known
        self.console = PlainConsole(soft_wrap=True)
        earlier = read_statuses(folder / TABLE)
        texts = {name: self._texts(run) for name, run in known.items()}
        self._status = {name: earlier[text] for name, text in texts.items() if text in earlier}
        self._working: list[str] = []

    def run(self, planned: Sequence[PlannedRun], jobs: int, lock: int) -> int:
        """Run what is not finished and tell what came out.

        Returns:
            0 when all planned runs are finished, 1 when one failed or could not be measured, 130 when they were asked
            to stop.
        """
        left = [run for run in planned if finished_version(self.folder / run.name) is None]
        kept = len(planned) - len(left)
        kept_text = f", {kept} of them finished already" if kept else ""
        self._say(f"{_runs(len(planned))} in {self.folder}{kept_text}")
        self.write_table()
        ended: list[str] = []
        events = run_all(self.folder, left, jobs, lock, self._say_stopping)
        with contextlib.closing(events), self._bar() as bar:
            task = bar.add_task("", total=len(planned), completed=kept)
            for event in events:
                if event.status == STARTED:
                    self._working.append(event.run.name)
                else:
                    ended.append(event.status)
                    self._note(event, f"{kept + len(ended)} of {len(planned)}")
                bar.update(task, completed=kept + len(ended), description="  ".join(self._working))
        self._conclude(self.write_table())
        if len(ended) < len(left) or INTERRUPTED in ended:
            self._say(f"{_runs(len(left) - ended.count(FINISHED))} left to do: the same command goes on")
            return CODE_INTERRUPTED
        return _CODE_FAILED if {FAILED, TRAINED} & set(ended) else 0

    def write_table(self) -> list[Row]:
        """Write `sweep.csv` and return its rows: all runs of the folder that have ended, finished or not."""
        rows = [row for name, run in self.known.items() if name not in self._working for row in self._rows(name, run)]
        ended = [row for row in rows if row["status"]]
        write_rows(self.folder / TABLE, ended, self.keys)
        return ended

    def _rows(self, name: str, run: dict[str, Any]) -> list[Row]:
        """What is known of a run, or of each of its instances; the status is empty if it has not begun."""
        version = newest_version(self.folder / name)
        row = {**run["values"], "seed": run["seed"]}
        row["run"] = version.relative_to(self.folder).as_posix() if version else ""
        if finished := finished_version(self.folder / name):
            return [{**row, **numbers, "status": FINISHED} for numbers in measured(finished)]
        if version and is_trained(version):
            return [{**row, "status": TRAINED}]
        status = self._status.get(name, INTERRUPTED if version else "")
        return [{**row, "status": FAILED if status == FINISHED else status}]  # its numbers were removed since

    def _note(self, event: Event, count: str) -> None:
        """Record and tell how a run ended."""
        name = event.run.name
        self._working.remove(name)
        self._status[name] = event.status
        self.write_table()
        line = f"{count}: {name} {event.status} after {event.seconds:.0f} s"
        if event.status == FINISHED:
            errors = [known(row, "test_mse_per_pixel") for row in self._rows(name, self.known[name])]
            line += f", test error {' to '.join(map(numeral, sorted({min(errors), max(errors)})))} per pixel"
        elif event.status in (FAILED, TRAINED):
            line += f": {event.error} (see {self.folder / name / LOG})"
        self._say(line)

    def _conclude(self, rows: list[Row]) -> None:
        keys = compared_by(rows, self.keys)
        lines = frontier_lines(settings_of(rows, keys))
        if points := points_of(rows, keys):
            print_points(table_console(PlainConsole()), rows, keys)
            self._say(verdict(points, keys))
            self._draw(FIGURE, sweep_figure(points, keys))
        if lines:
            self._draw(FRONTIER, frontier(lines))
        self._say_unfinished(rows)
        self._say(f"table: {self.folder / TABLE}")
        if points:
            self._say(f"figure: {self.folder / FIGURE}")
        if lines:
            self._say(f"frontier: {self.folder / FRONTIER}")

    def _say_unfinished(self, rows: Sequence[Row]) -> None:
        """Tell of runs that failed, or were not measured."""
        if failed := [row for row in rows if row["status"] == FAILED]:
            names = "; ".join(run_name({key: row[key] for key in self.keys}, row["seed"]) for row in failed)
            self._say(f"{_runs(len(failed))} failed: {names}")
        if left := [row for row in rows if row["status"] == TRAINED]:
            self._say(f"{_runs(len(left))} trained but not measured: the same command measures what is left")

    def _draw(self, name: str, figure: Figure) -> None:
        with replacing(self.folder / name) as temporary:
            figure.savefig(temporary, format="png", dpi=150)

    def _texts(self, run: dict[str, Any]) -> tuple[str, ...]:
        return (*(text_of(run["values"][key]) for key in self.keys), str(run["seed"]))

    def _say_stopping(self) -> None:
        self._say("stopping: the runs at work save and end; Ctrl-C again ends them at once")

    def _say(self, text: str) -> None:
        self.console.print(text)

    @contextlib.contextmanager
    def _bar(self) -> Iterator[Progress]:
        """A bar with the names of the runs at work, on a terminal."""
        columns = (
            BarColumn(20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}", markup=False),
        )
        with Progress(*columns, console=self.console, disable=not self.console.is_terminal) as bar:
            yield bar


def _runs(count: int) -> str:
    return "1 run" if count == 1 else f"{count} runs"
