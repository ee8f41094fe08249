"""The package as it is installed: its version, public names, and the configs that travel with it."""

import importlib
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import ae_lightning
from ae_lightning.cli import configs
from ae_lightning.cli.command_line import CommandLine
from ae_lightning.models import variants
from ae_lightning.yaml_file import first_comment

ROOT = Path(ae_lightning.__file__).resolve().parents[1]
CHECKOUT = pytest.mark.skipif(not (ROOT / "pyproject.toml").is_file(), reason="needs a checkout")


def test_importing_the_package_imports_nothing_heavy(tmp_path: Path) -> None:
    code = "import sys, ae_lightning; print({'torch', 'numpy', 'lightning'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("name", ae_lightning.__all__)
def test_every_public_name_is_there(name: str) -> None:
    thing = getattr(ae_lightning, name)
    assert name == "__version__" or thing.__name__ == name


def test_variants_are_public_and_listed() -> None:
    assert {"OvercompleteAutoencoder", "FullyConnectedAutoencoder"} <= set(variants())
    for name, kind in variants().items():
        assert getattr(ae_lightning, name) is kind
        assert name in dir(ae_lightning)
    assert set(ae_lightning.__all__) <= set(dir(ae_lightning))


@pytest.mark.parametrize("name", ["NoSuchThing", "no_such_thing", "ShallowAutoencoderX"])
def test_an_unknown_name(name: str) -> None:
    with pytest.raises(AttributeError, match=rf"module 'ae_lightning' has no attribute '{name}'"):
        getattr(ae_lightning, name)
    with pytest.raises(ImportError):
        exec(f"from ae_lightning import {name}")


def test_importing_a_submodule_by_its_name() -> None:
    assert importlib.import_module("ae_lightning.run.run").Run is ae_lightning.Run


@CHECKOUT
def test_the_version_is_written_in_one_place() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert 'dynamic = ["version"]' in text
    assert re.search(r'\[tool\.hatch\.version\]\s+path = "ae_lightning/version\.py"', text)
    assert not re.search(r'^version\s*=\s*"', text, re.MULTILINE)
    assert re.fullmatch(r"\d+\.\d+\.\d+\w*", ae_lightning.__version__)


@CHECKOUT
def test_the_installed_version_is_that_of_the_package() -> None:
    from importlib.metadata import entry_points, version

    assert version("ae-lightning") == ae_lightning.__version__
    (script,) = entry_points(group="console_scripts", name="ae-lightning")
    assert script.value == "ae_lightning.cli.main:main"


def test_configs_are_found_inside_an_installed_package_and_beside_a_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "site-packages" / "ae_lightning"
    beside = tmp_path / "site-packages" / "configs"
    for folder in (package, beside / "model"):
        folder.mkdir(parents=True)
    (beside / "model" / "one.yaml").write_text("# A part of a checkout.\n")
    monkeypatch.setattr(configs, "PACKAGE", package)
    assert configs.config_folder() == beside
    assert list(configs.packaged()) == ["model/one"]

    (package / "configs").mkdir()
    (package / "configs" / "two.yaml").write_text("# An experiment of a wheel.\nmodel: {}\n")
    assert configs.config_folder() == package / "configs"
    assert list(configs.packaged()) == ["two"]
    assert first_comment(configs.packaged()["two"]) == "An experiment of a wheel."
    assert configs.resolve_names(CommandLine(["--config", "two"])).arguments == [
        "--config",
        str(package / "configs" / "two.yaml"),
    ]


@CHECKOUT
def test_a_wheel_holds_the_package_and_its_configs(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    code = "import sys; from hatchling.build import build_wheel; build_wheel(sys.argv[1])"
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    assert wheel.name.startswith(f"ae_lightning-{ae_lightning.__version__}-")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "installed")
    modules = {path.relative_to(ROOT).as_posix() for path in (ROOT / "ae_lightning").rglob("*.py")}
    files = {f"ae_lightning/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "configs").rglob("*.yaml")}
    assert modules <= names
    assert files <= names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/")) or "__pycache__" in name]

    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "installed")}
    listed = subprocess.run(
        [sys.executable, "-m", "ae_lightning", "configs"],
        cwd=tmp_path, env=environment, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert str(tmp_path / "installed" / "ae_lightning" / "configs") in listed.stdout
    assert "overcomplete_mnist" in listed.stdout
