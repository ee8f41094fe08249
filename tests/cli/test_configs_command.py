"""`ae-lightning configs`, and how packaged files are found by name."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from ae_lightning.cli.command_line import CommandLine
from ae_lightning.cli.configs import config_folder, packaged, resolve_names
from ae_lightning.yaml_file import first_comment


def resolved(*arguments: str) -> list[str]:
    return resolve_names(CommandLine(arguments)).arguments


def test_every_file_is_listed_with_its_line(ae: Callable[..., Any]) -> None:
    code, out, err = ae("configs")
    assert (code, err) == (0, "")
    lines = [line.split(maxsplit=1) for line in out.splitlines() if line.startswith("  ")]
    files = sorted(config_folder().rglob("*.yaml"))
    assert {name: text for name, text in lines} == {
        file.relative_to(config_folder()).as_posix().removesuffix(".yaml"): first_comment(file) for file in files
    }
    assert str(config_folder()) in out


def test_the_first_line_of_every_file_says_what_it_is_for() -> None:
    texts = {name: path.read_text(encoding="utf-8") for name, path in packaged().items()}
    assert texts
    assert not [name for name, text in texts.items() if not text.startswith("# ")]
    assert not [name for name, path in packaged().items() if len(first_comment(path).split()) < 4]


def test_listing_imports_no_torch(tmp_path: Path) -> None:
    code = (
        "import sys; from ae_lightning.cli.main import main; main(['configs']);"
        "print({'torch', 'lightning'} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()"


def test_names_are_resolved_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = config_folder()
    assert resolved("fit", "--config", "overcomplete_digits", "--model=overcomplete", "--trainer", "cpu") == [
        *("fit", "--config", str(folder / "overcomplete_digits.yaml")),
        f"--model={folder / 'model' / 'overcomplete.yaml'}",
        *("--trainer", str(folder / "trainer" / "cpu.yaml")),
    ]
    assert resolved("-c", "overcomplete_digits.yaml") == ["-c", str(folder / "overcomplete_digits.yaml")]


def test_class_names_and_other_values_are_left_alone() -> None:
    arguments = ["fit", "--model", "OvercompleteAutoencoder", "--experiment", "overcomplete_digits", "--data.root", "x"]
    assert resolved(*arguments) == arguments


def test_a_local_file_wins_over_a_packaged_one(ae: Callable[..., Any], tmp_path: Path) -> None:
    local = "model:\n  class_path: OvercompleteAutoencoder\n  init_args:\n    latent_dim: 3\n"
    (tmp_path / "overcomplete_digits.yaml").write_text(local)
    code, out, _ = ae("fit", "--config", "overcomplete_digits.yaml", "--print_config")
    assert code == 0
    assert yaml.safe_load(out)["model"]["init_args"]["latent_dim"] == 3


def test_without_packaged_files_nothing_is_suggested(tmp_path: Path) -> None:
    assert packaged(tmp_path) == {}
