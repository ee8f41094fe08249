"""`ae-lightning compare`: runs side by side, as a table and their curves."""

import argparse
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rich.console import Console
from rich.table import Table

from ae_lightning.cli.command_parser import CommandParser
from ae_lightning.cli.run_command import write_figure
from ae_lightning.cli.tables import PlainConsole, table_console, unbroken
from ae_lightning.errors import ConfigError
from ae_lightning.numerals import numeral, with_error
from ae_lightning.printable import printable
from ae_lightning.run.config import CONFIG_NAME, is_run
from ae_lightning.run.results import linear_baseline, row_with_exact_pca

if TYPE_CHECKING:
    from ae_lightning.report.compare import Comparison, Group, Row
    from ae_lightning.run.run import Run

TABLE, FIGURE, FRONTIER = "compare.csv", "compare.png", "frontier.png"

# A run lies so many folders below one that is given for all its runs: of an experiment, a sweep, or all of them.
_DEEPEST = 3
_LONGEST_NAME = 30
_EXAMPLE = """examples:
  ae-lightning compare lightning_logs/simple/version_0 lightning_logs/deep/version_0 --labels simple,deep
  ae-lightning compare lightning_logs/overcomplete_digits_sweep_latent_dim -o comparison

A folder stands for all runs below it. Runs that differ only by their seed become one line: mean ± standard deviation.
So do instances of a population; those of other settings are lines of their own, and compare.csv has each instance.
"""


def main(arguments: list[str]) -> int:
    """Print the table, write `compare.csv`, `compare.png` and, of sparse codes, `frontier.png`; say where they are."""
    options = _parser().parse_args(arguments)

    from ae_lightning.report.compare import Comparison

    runs = find_runs(options.runs)
    labels = None if options.labels is None else [label.strip() for label in options.labels.split(",")]
    if labels is not None and not all(labels):
        raise ConfigError("--labels has an empty name: separate the names by single commas")
    comparison = Comparison(runs, labels)
    folder = options.output or _default_folder([run.folder for run in runs])
    folder.mkdir(parents=True, exist_ok=True)
    console = PlainConsole()
    print_comparison(table_console(console), comparison)
    _write(folder / TABLE, comparison.write)
    curves, groups = comparison.curves()
    if curves:
        _write(folder / FIGURE, lambda path: _draw(path, curves, groups))
    else:
        print("no figure: none of the runs has logged anything that it shows")
    if lines := comparison.frontier():
        _write(folder / FRONTIER, lambda path: _draw_frontier(path, lines))
    return 0


def find_runs(paths: Sequence[Path]) -> "list[Run]":
    """The runs that the paths stand for: a run's folder, or one with runs below it, which come sorted by name.

    Raises:
        ConfigError: There are fewer than two, or one is there twice.
        RunFolderError: A path is no folder, or there is no run in it.
    """
    from ae_lightning.run.run import Run

    folders = [folder for path in paths for folder in _runs_below(path) or [path]]
    runs = [Run.load(folder) for folder in folders]
    places = [folder.resolve() for folder in folders]
    if again := next((folder for folder, place in zip(folders, places, strict=True) if places.count(place) > 1), None):
        raise ConfigError(f"the run {again} is named twice")
    if len(runs) < 2:
        raise ConfigError(f"there must be two runs at least to compare, but {runs[0].folder} is the only one")
    return runs


def _runs_below(path: Path) -> list[Path]:
    """Runs in a folder that is none itself; 8 comes before 16 in their names."""
    if is_run(path):
        return []
    found = {file.parent for depth in range(1, _DEEPEST + 1) for file in path.glob("*/" * depth + CONFIG_NAME)}
    return sorted(found, key=lambda run: [(int(n or 0), text) for text, n in re.findall(r"(\D+)(\d*)", str(run))])


def _parser() -> CommandParser:
    parser = CommandParser(
        "compare",
        description="Print the final numbers of several runs side by side, and write them and the runs' curves.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "runs", type=Path, nargs="+", metavar="RUN", help="a run's folder, or one with several runs below it"
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="DIR",
        help="where to write compare.csv, compare.png, and of sparse codes frontier.png (default: compare, in the "
        "folder that all runs lie in)",
    )
    parser.add_argument("--labels", metavar="A,B,…", help="names of the runs, in their order, or of the lines")
    return parser


def _default_folder(runs: Sequence[Path]) -> Path:
    """`compare` beside the runs; in the `lightning_logs` here where the runs lie in several of these, or far apart."""
    parents = [run.resolve().parent for run in runs]
    common = Path(os.path.commonpath(parents))
    apart = any("lightning_logs" in parent.relative_to(common).parts for parent in parents)
    folder = Path.cwd() / "lightning_logs" if apart or common == Path(common.anchor) else common
    folder = folder / "compare"
    return folder.relative_to(Path.cwd()) if folder.is_relative_to(Path.cwd()) else folder


def _write(path: Path, write: Callable[[Path], None]) -> None:
    """Write a file and say where it is, and whether there was one."""
    replaced = path.exists()
    write(path)
    print(printable(f"{path}{' (replaced)' if replaced else ''}"))


def _draw(path: Path, curves: Any, groups: Any) -> None:
    from ae_lightning.plots.compare import comparison_curves

    write_figure(comparison_curves(curves, groups), path)


def _draw_frontier(path: Path, lines: Any) -> None:
    from ae_lightning.plots.frontier import frontier

    write_figure(frontier(lines), path)


class _Column(NamedTuple):
    """A column of the table: its heading, and the cell of each group."""

    heading: str
    cells: list[str]

    @property
    def width(self) -> int:
        """Letters that it takes, with its border."""
        return max(len(line) for text in (self.heading, *self.cells) for line in text.split("\n")) + 3


def print_comparison(console: Console, comparison: "Comparison") -> None:
    """Print a line for each group of runs, as many columns as there is room for, and what is to be said of them."""
    from ae_lightning.plots.compare import distinct_labels

    groups = comparison.groups
    several = any(len(group.rows) > 1 for group in groups)
    names = _Column("run", distinct_labels([group.label for group in groups], _LONGEST_NAME))
    known = [column for column in _columns(groups, several) if any(column.cells)]
    same = [column for column in known if column.heading in _ONCE and len(set(column.cells)) == 1]
    columns = [column for column in known if column not in same]
    shown, room = [], console.width - names.width - 1
    for column in sorted(columns, key=lambda column: _RANK.index(column.heading)):
        if column.width <= room:
            shown.append(column)
            room -= column.width
    spread = "deviation over seeds" if several else "error over test samples"
    table = Table(title=f"test error per pixel; ± is the standard {spread}", title_justify="left")
    table.add_column("run", overflow="fold")
    shown = [column for column in columns if column in shown]
    for column in shown:
        table.add_column(column.heading, justify="right")
    for cells in zip(names.cells, *(column.cells for column in shown), strict=True):
        table.add_row(*(unbroken(cell) for cell in cells))
    console.print(table)
    if same:
        words = (f"{_on_a_line(column.heading)} {column.cells[0]}" for column in same)
        console.print(f"the same for all: {'; '.join(words)}")
    if left := [_on_a_line(column.heading) for column in columns if column not in shown]:
        console.print(f"only in {TABLE}: {'; '.join(left)}")
    for remark in comparison.remarks():
        console.print(remark, soft_wrap=True)


def _on_a_line(heading: str) -> str:
    return heading.replace("/\n", "/").replace("\n", " ")


_LINEAR = tuple(f"{name},\nsame width" for name in ("PCA", "linear regression", "PCA or linear regression"))
"""What the column of the linear baseline is called, see `linear_baseline`."""

_ONCE = ("class", "latent\nsize", "parameters", *_LINEAR, "mean\nimage")
"""Columns that become a line below the table where all runs have the same."""

_RANK = (
    *("test error", "seeds", *_LINEAR, "latent\nsize", "probe", "recovered", "variance\nexplained", "L0"),
    *("MIG", "disentangled", "SAP", "FactorVAE\nscore"),
    *("active/\ndead", "rank\nenc/dec", "parameters", "seconds", "Hoyer", "MCC", "F1", "mean\nimage", "class"),
    *("truths'\nF1", "absorption", "hedging"),
)
"""Headings in the order in which there must be room for them."""


def _columns(groups: "Sequence[Group]", several: bool) -> list[_Column]:
    """All columns, in the order in which they stand; cells are empty where nothing is known."""

    def numbers(heading: str, form: str, *names: str, error: str = "", spread: bool = False) -> _Column:
        cells = ["/".join(_cell(group.rows, name, form, error, spread) for name in names) for group in groups]
        return _Column(heading, ["" if set(cell) <= {"/"} else cell for cell in cells])

    linear = linear_baseline(row for group in groups for row in group.rows)
    pca = numbers(f"{linear},\nsame width", ".5f", "pca_test_mse_per_pixel")
    exact = [row_with_exact_pca(group.rows[0]) for group in groups]
    error = numbers(
        "test error", ".5f", "test_mse_per_pixel", error="" if several else "test_mse_per_pixel_se", spread=True
    )
    return [
        _Column("class", [group.rows[0]["class"] for group in groups]),
        _Column("seeds", [_seeds(group.rows) if several else "" for group in groups]),
        numbers("latent\nsize", ",.0f", "latent_size"),
        numbers("parameters", ",.0f", "parameters"),
        _Column("test error", [_error(cell, group.rows) for cell, group in zip(error.cells, groups, strict=True)]),
        pca._replace(cells=["exact" if at else cell for cell, at in zip(pca.cells, exact, strict=True)]),
        numbers("mean\nimage", ".5f", "mean_image_test_mse_per_pixel"),
        numbers("variance\nexplained", ".1%", "explained_variance"),
        numbers("probe", ".3f", "probe_accuracy", error="" if several else "probe_accuracy_se", spread=True),
        numbers("rank\nenc/dec", ".1f", "encoder_effective_rank", "decoder_effective_rank"),
        numbers("active/\ndead", ".4g", "active_latents", "dead_latents"),
        numbers("L0", ".4g", "l0"),
        numbers("Hoyer", ".2f", "hoyer"),
        numbers("recovered", ".2f", "fraction_recovered"),
        numbers("MCC", ".2f", "mcc"),
        numbers("F1", ".2f", "f1"),
        numbers("truths'\nF1", ".2f", "truth_f1"),
        numbers("absorption", ".2f", "absorption"),
        numbers("hedging", ".2f", "hedging"),
        numbers("MIG", ".3f", "mig", spread=True),
        numbers("disentangled", ".3f", "dci_disentanglement", spread=True),
        numbers("SAP", ".3f", "sap", spread=True),
        numbers("FactorVAE\nscore", ".3f", "factor_vae", spread=True),
        numbers("seconds", ",.1f", "seconds"),
    ]


def _cell(rows: "Sequence[Row]", name: str, form: str, error: str, spread: bool) -> str:
    """The mean over seeds, and how far to trust it: the standard deviation over these, or the run's own error."""
    from ae_lightning.plots.sweep import mean_and_spread

    values = [row[name] for row in rows if row[name] is not None]
    if not values:
        return ""
    mean, deviation = mean_and_spread(values)
    if spread and len(values) > 1:
        return with_error(mean, deviation, form)
    own = rows[0][error] if error else None
    return with_error(mean, own, form)


def _error(cell: str, rows: "Sequence[Row]") -> str:
    """The test error, with a star where it is that of the validation set; what is known where there is none."""
    if not cell:
        return _loss(rows)
    return f"{cell} *" if any(row["test_is_validation"] for row in rows) else cell


def _seeds(rows: "Sequence[Row]") -> str:
    finished = sum(row["finished"] for row in rows)
    return str(finished) if finished == len(rows) else f"{finished} of {len(rows)}"


def _loss(rows: "Sequence[Row]") -> str:
    """What stands for the test error where no run has finished."""
    losses = [row["val_loss"] for row in rows if row["val_loss"] is not None]
    return f"(val/loss {numeral(sum(losses) / len(losses))})" if losses else "(none yet)"
