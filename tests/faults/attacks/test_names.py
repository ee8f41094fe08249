"""Names of runs, metrics and settings that a terminal, a table or a figure would take for something else."""

import csv
import io
import shutil

import numpy as np
import pytest
from matplotlib.text import Text

from ae_lightning.cli.tables import PlainConsole
from ae_lightning.files import as_cell, from_cell, write_table
from ae_lightning.plots.compare import comparison_curves
from ae_lightning.plots.figure import Figure
from ae_lightning.printable import printable
from ae_lightning.run.loggers import MetricsCSV
from ae_lightning.run.tables import read_metrics

NAMES = ["[red]x", "[/red]", "x$\\frac{$y", "$\\alpha$", ":smile:", "=1+1", "@SUM(A1)", "a\x1b[31mb", "\u202egnp.exe"]


def png(figure):
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def test_runs_of_any_name_are_compared(ae, trained, tmp_path):
    names = [name for name in NAMES if "/" not in name]
    for name in names:
        shutil.copytree(trained, tmp_path / "all" / name / "version_0")
    outcome = ae("compare", "all", "--labels", ",".join(names))
    assert outcome.code == 0, outcome.err
    for shown in ("[red]x", "x$\\frac{$y", "$\\alpha$", ":smile:", "=1+1", r"a\x1b[31mb", r"\u202egnp.exe"):
        assert shown in outcome.out
    assert "\x1b" not in outcome.out
    with (tmp_path / "all" / "compare" / "compare.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["name"] for row in rows} >= {"'=1+1", "'@SUM(A1)", "[red]x"}
    assert all(not cell.startswith(("=", "+", "@")) for row in rows for cell in row.values())


def test_a_figure_shows_names_letter_by_letter_and_powers_as_powers():
    steps = np.arange(1, 200)
    curves = {"validation loss": {name: (steps, 1 / steps) for name in NAMES}}
    figure = comparison_curves(curves, {name: name for name in NAMES})
    plain = comparison_curves({"validation loss": {"b": (steps, 1 / steps)}}, {"b": "b"})
    for each in (figure, plain):
        each.axes[0].set_yscale("log")
        assert png(each)
    shown = {text.get_text(): text.get_parse_math() for text in figure.findobj(Text) if text.get_visible()}
    assert not any(shown[name] for name in ("x$\\frac{$y", "$\\alpha$"))
    assert shown["$\\mathdefault{10^{-1}}$"]


def test_names_of_categories_are_no_mathematics_either():
    figure = Figure()
    axes = figure.add_subplot()
    axes.set_xticks([0, 1], labels=["x$\\frac{$y", "$\\alpha$"])
    axes.set_title("$\\frac{$")
    assert png(figure)


@pytest.mark.parametrize("name", NAMES)
def test_a_console_prints_a_name_as_it_is(name):
    file = io.StringIO()
    PlainConsole(file=file, width=80).print(name)
    assert file.getvalue().strip() == printable(name)
    assert file.getvalue().isascii() or name.startswith("\u202e")


def test_what_a_terminal_obeys_is_spelled_out_and_nothing_else():
    assert printable("a\x1b]0;title\x07\x9b\x7f\ud800") == r"a\x1b]0;title\x07\x9b\x7f\ud800"
    assert printable("Zürich 数字 × 0.5\n\tend") == "Zürich 数字 × 0.5\n\tend"


def test_texts_are_no_formulas_and_numbers_stay_numbers(tmp_path):
    cells = ["=1+1", "+a", "-a", "@a", "\ta", "-0.5", "+1e3", "-inf", -0.5, None, "a=b", "'quoted"]
    write_table(tmp_path / "a.csv", ["=name"], [[cell] for cell in cells])
    rows = list(csv.reader((tmp_path / "a.csv").open(newline="")))
    assert [row[0] for row in rows] == [
        *("'=name", "'=1+1", "'+a", "'-a", "'@a", "'\ta"),
        *("-0.5", "+1e3", "-inf", "-0.5", "", "a=b", "'quoted"),
    ]
    assert [from_cell(as_cell(cell)) for cell in cells if isinstance(cell, str)] == [
        cell for cell in cells if isinstance(cell, str)
    ]


def test_a_metric_by_the_name_of_a_formula_is_logged_on(tmp_path):
    for first, step in ((True, 1), (False, 2)):
        logger = MetricsCSV(tmp_path, None if first else 1)
        logger.log_metrics({"=1+1": 0.5, "-x": -2.0}, step=step)
    assert (tmp_path / "metrics.csv").read_text().splitlines()[0] == "step,epoch,'-x,'=1+1"
    assert read_metrics(tmp_path)["=1+1"].tolist() == [0.5, 0.5]


def test_an_error_does_not_paint_the_terminal(ae, tmp_path):
    outcome = ae("evaluate", "no\x1b[31mwhere")
    assert outcome.code == 2
    assert r"no\x1b[31mwhere" in outcome.err
    assert "\x1b" not in outcome.err
