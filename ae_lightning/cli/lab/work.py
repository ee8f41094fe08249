"""A lab at work: fits, then measurements, then what is written of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ae_lightning.cli.lab.plan import KEY, Lab
from ae_lightning.cli.lab.table import print_board
from ae_lightning.cli.main import INTERRUPTED
from ae_lightning.cli.run_command import opened_by
from ae_lightning.cli.sweep.results import Row
from ae_lightning.cli.sweep.runs import finished_version, only_sweep_in
from ae_lightning.cli.sweep.session import Session
from ae_lightning.cli.sweep.settings import make_record, write_record
from ae_lightning.cli.tables import PlainConsole
from ae_lightning.data.worlds.world import World
from ae_lightning.evaluation.device import device_of
from ae_lightning.evaluation.lab.results import Results
from ae_lightning.evaluation.lab.scores import Scores, scores_of_baselines, scores_of_run
from ae_lightning.evaluation.lab.sentences import sentences_of
from ae_lightning.files import write_text
from ae_lightning.report.lab.page import lab_page, leaderboard_page
from ae_lightning.run.run import Run

_TABLE, _JSON, _BOARD, _PAGE = "leaderboard.csv", "leaderboard.json", "leaderboard.html", "lab.html"


class _Fits(Session):
    """The fits of a lab: a sweep whose end is told by its leaderboard."""

    def _conclude(self, rows: list[Row]) -> None:
        self._say_unfinished(rows)


def work(lab: Lab, folder: Path, jobs: int, samples: int) -> int:
    """Train what is not trained, measure what is not measured, and write the leaderboard and the page.

    Args:
        lab: What is asked for.
        folder: Where results go.
        jobs: Fits at a time.
        samples: Fresh samples to measure on.

    Returns:
        0 when all is measured, 1 when a fit failed, 130 when it was asked to stop.
    """
    console = PlainConsole(soft_wrap=True)
    record = make_record(folder, lab.resolved, {KEY: KEY}, lab.runs)
    with only_sweep_in(folder) as lock:
        write_record(folder, record)
        code = _Fits(folder, [KEY], record["runs"]).run(lab.runs, jobs, lock)
        if code == INTERRUPTED:
            return code
        results = _measured(lab, folder, record["runs"], samples, console)
        if results is None:
            return code
        _write(results, folder, console)
    return code


def _measured(lab: Lab, folder: Path, known: Mapping[str, Any], samples: int, console: PlainConsole) -> Results | None:
    """The numbers of all fits of the folder that are finished, and of baselines; None where there are none."""
    runs: dict[tuple[str, int], Run] = {}
    for name, run in known.items():
        if version := finished_version(folder / name):
            runs[run["values"][KEY], run["seed"]] = Run(version)
    scores: dict[int, list[Scores]] = {}
    worlds: dict[int, World] = {}
    for seed in sorted({seed for _, seed in runs}):
        of_seed = {model: run for (model, of), run in runs.items() if of == seed}
        first = next(iter(of_seed.values()))
        data, device = first.data, device_of(first.config)
        worlds[seed] = data.world  # type: ignore[attr-defined]
        scores[seed] = []
        for model, run in of_seed.items():
            console.print(f"measuring {model}, seed {seed}")
            scores[seed].append(scores_of_run(run, model, lab.l0s, samples, device))
        console.print(f"measuring baselines, seed {seed}")
        place = folder / f"baselines,seed={seed}"
        scores[seed].append(scores_of_baselines(place, data, lab.latents, lab.l0s, samples, device))  # type: ignore[arg-type]
    if not scores:
        return None
    models = list(dict.fromkeys(model for model, _ in runs))
    return Results(lab.about(samples), models, scores, runs, worlds)


def _write(results: Results, folder: Path, console: PlainConsole) -> None:
    """Write the leaderboard and the page, and say what they say."""
    board, sentences = results.board, sentences_of(results.board)
    board.write_table(folder / _TABLE)
    board.write_json(folder / _JSON, results.about, sentences)
    write_text(folder / _BOARD, leaderboard_page(results))
    write_text(folder / _PAGE, lab_page(results, lambda title: console.print(f"drawing: {title}")))
    print_board(board)
    for sentence in sentences:
        console.print(sentence)
    console.print(f"leaderboard: {folder / _TABLE}")
    console.print(opened_by(folder / _PAGE))
