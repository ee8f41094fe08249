"""Modules that lie in the folder where a command is typed, under the names of what every run imports."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from ae_lightning.cli.sweep.runs import _program

LIE = "import pathlib\npathlib.Path({marker!r}).touch()\nraise SystemExit('a stranger is imported')\n"
NAMES = ("yaml", "torch", "argparse", "difflib", "hashlib", "json", "errors", "ae_lightning", "sitecustomize")


def started(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A run of a sweep that is refused as soon as configs are looked at; a YAML reader is imported by then."""
    command = [*_program(), "--safe", "fit", "--config", "nowhere"]
    return subprocess.run(command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True)


@pytest.fixture
def lies(tmp_path: Path) -> Path:
    """A folder of modules that write a file `ran` when they are imported."""
    folder = tmp_path / "theirs"
    folder.mkdir()
    for name in NAMES:
        (folder / f"{name}.py").write_text(LIE.format(marker=str(tmp_path / "ran")))
    return folder


def test_a_run_of_a_sweep_imports_nothing_from_the_current_folder(lies: Path, tmp_path: Path) -> None:
    done = started(lies)
    assert "no such file, and no packaged config" in done.stderr
    assert not (tmp_path / "ran").exists()
    by_module = [sys.executable, "-m", "ae_lightning", "--version"]
    subprocess.run(by_module, cwd=lies, capture_output=True, check=False)
    assert (tmp_path / "ran").exists(), "these modules would prove nothing"


def test_a_run_of_a_sweep_imports_what_the_user_has_put_on_the_path(lies: Path, tmp_path: Path) -> None:
    for name in {*NAMES} - {"yaml"}:
        (lies / f"{name}.py").unlink()
    assert "a stranger is imported" in started(tmp_path, PYTHONPATH=str(lies)).stderr
    assert (tmp_path / "ran").exists()


def test_a_run_of_a_sweep_finds_no_module_by_the_bare_name_of_one_of_ours(tmp_path: Path) -> None:
    code = "import runpy, sys; sys.argv = ['x', '--version']; sys.path.insert(0, {folder!r})\n"
    code += "try: runpy.run_path({file!r}, run_name='__main__')\nexcept SystemExit: pass\nimport files"
    file = _program()[1]
    text = code.format(folder=os.path.dirname(file), file=file)
    done = subprocess.run([sys.executable, "-c", text], cwd=tmp_path, capture_output=True, text=True)
    assert "No module named 'files'" in done.stderr
