"""The arrows of the design: which room may import which."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import ae_lightning

PACKAGE = Path(ae_lightning.__file__).parent
LEVELS = [
    {"errors", "files", "parser_errors", "per_feature", "safe_mode", "safetensors_writer", "yaml_file"},
    {"nn", "losses", "metrics", "analysis"},
    {"models", "data", "plots", "loggers"},
    {"gallery"},
    {"callbacks", "lean_loop"},
    {"run", "evaluation", "explorer", "report"},
    {"cli"},
]
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
# These know tensors and arrays: no training, no trainer, and nothing of ours but each other.
PURE = {"nn", "losses", "metrics", "analysis", "plots"}
# The front door reaches into every room, when asked to.
DOORS = {"__init__", "__main__"}

FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).as_posix() != "__init__.py")


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def imports_of(path: Path) -> Iterator[str]:
    """Dotted names of all that a file imports, wherever in it; `from a import b` gives a.b."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide which room they reach into"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def rooms_imported_by(path: Path) -> set[str]:
    ours = (name.split(".") for name in imports_of(path) if name.split(".")[0] == "ae_lightning")
    return {parts[1] for parts in ours if len(parts) > 1} - {"__version__"}


def by_file(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def test_imports_are_found_wherever_they_stand(tmp_path):
    source = tmp_path / "a.py"
    source.write_text(
        "import ae_lightning.cli.main as m\nfrom ae_lightning import run\n"
        "def f():\n    from ae_lightning.data.base import X\n"
    )
    assert rooms_imported_by(source) == {"cli", "run", "data"}


@pytest.mark.parametrize("path", FILES, ids=by_file)
def test_arrows_never_point_up(path):
    room = room_of(path)
    if room in DOORS:
        return
    assert room in LEVEL, f"{room} is new: say in LEVELS where it belongs"
    for other in rooms_imported_by(path):
        assert other in LEVEL, f"{by_file(path)} imports ae_lightning.{other}, which has no place in LEVELS"
        assert LEVEL[other] <= LEVEL[room], f"{by_file(path)} imports from {other}, which lies above {room}"


@pytest.mark.parametrize("path", [path for path in FILES if room_of(path) in PURE], ids=by_file)
def test_pure_rooms_know_neither_lightning_nor_the_others(path):
    assert rooms_imported_by(path) <= PURE
    roots = {name.split(".")[0] for name in imports_of(path)}
    assert not {root for root in roots if "lightning" in root} - {"ae_lightning"}


def test_there_are_files_in_every_pure_room():
    assert {room_of(path) for path in FILES} >= PURE


@pytest.mark.parametrize("path", FILES, ids=by_file)
def test_pyplot_with_its_global_state_and_its_windows_is_imported_nowhere(path):
    assert not [name for name in imports_of(path) if name.startswith(("matplotlib.pyplot", "pylab"))]


def modules_after(statement: str) -> set[str]:
    code = f"{statement}\nimport sys\nprint('\\n'.join(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_importing_the_package_imports_nothing_heavy():
    heavy = {"torch", "lightning", "numpy", "sklearn", "matplotlib", "jsonargparse"}
    assert "ae_lightning" in modules_after("import ae_lightning")
    assert not heavy & modules_after("import ae_lightning; import ae_lightning.cli.main")


def test_every_public_name_is_there():
    for name in ae_lightning.__all__:
        assert getattr(ae_lightning, name) is not None
    assert set(ae_lightning.__all__) <= set(dir(ae_lightning))
    assert ae_lightning.OvercompleteAutoencoder.__name__ == "OvercompleteAutoencoder"
    with pytest.raises(AttributeError, match="has no attribute 'Nonsense'"):
        _ = ae_lightning.Nonsense
