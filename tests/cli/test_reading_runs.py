"""What the commands that read a run have in common: how often they open it, and what they say of its figures."""

import ast
import html
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ae_lightning.cli
from ae_lightning.models import checkpoint
from ae_lightning.models.base import Autoencoder
from ae_lightning.report.reading import TITLES_AND_READINGS, decoded_from
from ae_lightning.run.run import Run


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained, tmp_path / "logs" / "mine" / "version_0")


class Count:
    """How often runs are opened and models are loaded."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.runs = self.models = 0
        opened, checked = Run.__init__, checkpoint.check_weights

        def open_run(run: Run, *arguments: Any) -> None:
            self.runs += 1
            opened(run, *arguments)

        def check_weights(model: Autoencoder, *arguments: Any) -> None:  # as `load_autoencoder` does
            self.models += next(model.parameters()).device.type != "meta"  # which holds no weights
            checked(model, *arguments)

        monkeypatch.setattr(Run, "__init__", open_run)
        monkeypatch.setattr(checkpoint, "check_weights", check_weights)


@pytest.fixture
def count(monkeypatch: pytest.MonkeyPatch) -> Count:
    return Count(monkeypatch)


def test_what_is_counted(run: Path, count: Count) -> None:
    opened = Run.load(run)
    assert (count.runs, count.models) == (1, 0)
    assert opened.model is opened.model
    checkpoint.load_autoencoder(opened.checkpoint)
    assert (count.runs, count.models) == (1, 2)


@pytest.mark.parametrize("command", ["report", "latent", "sparsity", "explore"])
def test_a_command_opens_a_run_once_and_loads_its_model_once(
    command: str, ae: Callable[..., Any], run: Path, count: Count, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ae_lightning.report.report._DPI", 30)
    monkeypatch.setattr("ae_lightning.cli.run_command._DPI", 30)
    assert ae(command, run).code == 0
    assert (count.runs, count.models) == (1, 1)


@pytest.mark.parametrize("finished", [True, False])
def test_a_report_measures_the_model_that_it_draws(
    finished: bool, ae: Callable[..., Any], run: Path, count: Count, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ae_lightning.gallery.Gallery.fitting", lambda self: {"reconstructions": self.reconstructions})
    for kind in ("sparsity.SparsityFigures", "weights.WeightFigures"):
        monkeypatch.setattr(f"ae_lightning.report.{kind}.fitting", lambda self: {})
    error = Run.load(run).results["errors"]["test"]["autoencoder"]["mse_per_pixel"]
    if not finished:
        (run / "metrics.json").unlink()
    count.runs = 0
    assert ae("report", run).code == 0
    assert (count.runs, count.models) == (1, 1)
    assert f"{error:.5f}" in (run / "report" / "report.html").read_text(encoding="utf-8")


def test_the_explorer_comes_behind_the_summary(
    ae: Callable[..., Any], run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ae_lightning.report.report._DPI", 30)
    assert ae("report", run, "--units", "2").code == 0
    page = (run / "report" / "report.html").read_text(encoding="utf-8")
    titles = [html.unescape(title) for title in re.findall("<h2>(.*?)</h2>", page)]
    assert titles[:4] == ["Numbers and baselines", "Explorer", "Training", "Reconstructions"]
    navigation = page[page.index("<nav") : page.index("</nav>")]
    assert [html.unescape(text) for text in re.findall(">([^<>]+)</a>", navigation)] == ["Summary", *titles]


@pytest.mark.parametrize("command", ["latent", "sparsity"])
def test_a_figure_is_explained_as_in_the_report(command: str, ae: Callable[..., Any], run: Path) -> None:
    options = ("--interpolate", "3", "7", "--grid", "3", "--samples", "2") if command == "latent" else ()
    lines = ae(command, run, *options).out.splitlines()
    names = [re.sub(r"(_\d+)+$", "", Path(line).stem) for line in lines[::2]]
    assert len(names) >= 4
    readings = {name: reading for name, (_, reading) in TITLES_AND_READINGS.items()}
    readings["samples"] = decoded_from("a normal with the mean and covariance of 1,293 training codes")
    assert [line.strip() for line in lines[1::2]] == [readings[name] for name in names]


def test_captions_stand_in_one_table() -> None:
    """No command explains a figure in words of its own."""
    for path in Path(ae_lightning.cli.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Dict):
                told = zip(node.keys, node.values, strict=True)
                keys = {key.value for key, text in told if isinstance(key, ast.Constant) and _is_text(text)}
                assert len(keys & set(TITLES_AND_READINGS)) < 2, f"{path}, line {node.lineno}"


def _is_text(node: ast.expr) -> bool:
    return isinstance(node, (ast.Tuple, ast.JoinedStr)) or (
        isinstance(node, ast.Constant) and isinstance(node.value, str)
    )
