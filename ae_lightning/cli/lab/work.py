"""A lab at work: fits, then measurements, then what is written of them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ae_lightning.cli.lab.continued import FOLDER, NAMES, Continued
from ae_lightning.cli.lab.plan import KEY, Lab
from ae_lightning.cli.lab.table import print_board
from ae_lightning.cli.main import INTERRUPTED
from ae_lightning.cli.run_command import opened_by
from ae_lightning.cli.sweep.results import Row
from ae_lightning.cli.sweep.runs import finished_version, only_sweep_in
from ae_lightning.cli.sweep.session import Session
from ae_lightning.cli.sweep.settings import make_record, write_record
from ae_lightning.cli.tables import PlainConsole
from ae_lightning.data.world import WorldDataModule
from ae_lightning.data.worlds.world import World
from ae_lightning.evaluation.device import device_of
from ae_lightning.evaluation.lab.hedging import with_hedging_rate
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


def work(lab: Lab, folder: Path, jobs: int, samples: int, more: int | None = None) -> int:
    """Train what is not trained, measure what is not measured, and write the leaderboard and the page.

    Args:
        lab: What is asked for.
        folder: Where results go.
        jobs: Fits at a time.
        samples: Fresh samples to measure on.
        more: Latents that dictionaries get more to measure the hedging rate; None measures none.

    Returns:
        0 when all is measured, 1 when a fit failed, 130 when it was asked to stop.
    """
    record = make_record(folder, lab.resolved, {KEY: KEY}, lab.runs)
    with only_sweep_in(folder) as lock:
        write_record(folder, record)
        code = _Fits(folder, [KEY], record["runs"]).run(lab.runs, jobs, lock)
        if code == INTERRUPTED:
            return code
        runs = _finished(folder, record["runs"])
        wider: Continued | None = None
        if more is not None and runs:
            wider = Continued(lab, more, {of: run.folder for of, run in runs.items() if of[0] in lab.names})
            code = max(code, _continue(wider, folder / FOLDER, jobs))
        if code != INTERRUPTED and runs:
            _write(_measured(lab, folder, runs, samples, wider), folder)
    return code


def _finished(folder: Path, known: Mapping[str, Any]) -> dict[tuple[str, int], Run]:
    """The finished fits of a lab's folder by model and seed, those of earlier commands too."""
    versions = {(run["values"][KEY], run["seed"]): finished_version(folder / name) for name, run in known.items()}
    return {of: Run(version) for of, version in versions.items() if version is not None}


def _continue(wider: Continued, folder: Path, jobs: int) -> int:
    """Run the fits behind the hedging rate; the answer is that of a sweep."""
    record = make_record(folder, wider.resolved, NAMES, wider.runs)
    with only_sweep_in(folder) as lock:
        write_record(folder, record)
        return _Fits(folder, list(NAMES.values()), record["runs"]).run(wider.runs, jobs, lock)


def _measured(
    lab: Lab, folder: Path, runs: Mapping[tuple[str, int], Run], samples: int, wider: Continued | None
) -> Results:
    """The numbers of all finished fits, and of baselines."""
    scores: dict[int, list[Scores]] = {}
    worlds: dict[int, World] = {}
    for seed in sorted({seed for _, seed in runs}):
        of_seed = {model: run for (model, of), run in runs.items() if of == seed}
        first = next(iter(of_seed.values()))
        data, device = first.data, device_of(first.config)
        assert isinstance(data, WorldDataModule)
        worlds[seed] = data.world
        scores[seed] = []
        for model, run in of_seed.items():
            _say(f"measuring {model}, seed {seed}")
            found = scores_of_run(run, model, lab.l0s, samples, device)
            scores[seed].append(_hedging(found, wider, folder / FOLDER, model, seed))
        _say(f"measuring baselines, seed {seed}")
        place = folder / f"baselines,seed={seed}"
        scores[seed].append(scores_of_baselines(place, data, lab.latents, lab.l0s, samples, device))
    models = list(dict.fromkeys(model for model, _ in runs))
    return Results(lab.about(samples), models, scores, runs, worlds)


def _hedging(scores: Scores, wider: Continued | None, folder: Path, model: str, seed: int) -> Scores:
    """The scores with hedging rates, where both fits behind them are finished."""
    if wider is None:
        return scores
    versions = [finished_version(folder / wider.name(model, seed, width)) for width in wider.widths]
    control, extended = (None if version is None else Run(version) for version in versions)
    return scores if control is None or extended is None else with_hedging_rate(scores, control, extended)


def _write(results: Results, folder: Path) -> None:
    """Write the leaderboard and the page, and say what they say."""
    board, sentences = results.board, sentences_of(results.board)
    board.write_table(folder / _TABLE)
    board.write_json(folder / _JSON, results.about, sentences)
    write_text(folder / _BOARD, leaderboard_page(results))
    write_text(folder / _PAGE, lab_page(results, lambda title: _say(f"drawing: {title}")))
    print_board(board)
    for sentence in sentences:
        _say(sentence)
    _say(f"leaderboard: {folder / _TABLE}")
    _say(opened_by(folder / _PAGE))


def _say(text: str) -> None:
    PlainConsole(soft_wrap=True).print(text)
