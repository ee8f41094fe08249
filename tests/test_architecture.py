"""The arrows of the design: which room may import which."""

import ast
import functools
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import ae_lightning

PACKAGE = Path(ae_lightning.__file__).parent
LEVELS = [
    {
        "entry_points",
        "errors",
        "files",
        "numerals",
        "parser_errors",
        "parser_limits",
        "printable",
        "per_feature",
        "processes",
        "safe_mode",
        "safetensors_writer",
        "upstream",
        "version",
        "yaml_file",
    },
    {"nn", "losses", "metrics", "analysis"},
    {"training"},
    {"models", "data", "plots"},
    {"gallery", "run"},
    {"callbacks", "lean_loop"},
    {"evaluation", "explorer", "harvesting", "report"},
    {"cli", "testing"},
]
LEVEL = {room: level for level, rooms in enumerate(LEVELS) for room in rooms}
# These know tensors and arrays: no training, no trainer, and nothing of ours but each other and the errors.
PURE = {"nn", "losses", "metrics", "analysis", "plots"}
# The front door reaches into every room, when asked to.
DOORS = {"__init__", "__main__"}

FILES = sorted(path for path in PACKAGE.rglob("*.py") if path.relative_to(PACKAGE).as_posix() != "__init__.py")


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


@functools.cache
def imports_of(path: Path) -> tuple[str, ...]:
    """Dotted names of all that a file imports, wherever in it; `from a import b` gives a.b."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names += (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide which room they reach into"
            names += (f"{node.module}.{alias.name}" for alias in node.names)
    return tuple(names)


def ours_imported_by(path: Path) -> set[str]:
    """Dotted names of ours that a file imports, without the package's own."""
    return {name.partition(".")[2] for name in imports_of(path) if is_ours(name)}


def is_ours(name: str) -> bool:
    return name.partition(".")[0] == "ae_lightning"


def rooms_imported_by(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in ours_imported_by(path)}


def file_of(name: str) -> Path | None:
    """The file that a dotted name of ours is, or stands in."""
    parts = name.split(".")
    for count in range(len(parts), 0, -1):
        stem = PACKAGE.joinpath(*parts[:count])
        if stem.with_suffix(".py").is_file():
            return stem.with_suffix(".py")
        if (stem / "__init__.py").is_file():
            return stem / "__init__.py"
    return None


def circle_in(arrows: dict[Any, set[Any]]) -> list[Any] | None:
    """Nodes of a directed graph that reach themselves, in order; None if there is no such circle."""
    done: set[Any] = set()

    def search(node: Any, way: list[Any]) -> list[Any] | None:
        if node in way:
            return [*way[way.index(node) :], node]
        if node in done:
            return None
        found = next(filter(None, (search(other, [*way, node]) for other in arrows.get(node, ()))), None)
        done.add(node)
        return found

    return next(filter(None, (search(node, []) for node in arrows)), None)


def by_file(path: Path) -> str:
    return path.relative_to(PACKAGE).as_posix()


def test_imports_are_found_wherever_they_stand(tmp_path):
    source = tmp_path / "a.py"
    source.write_text(
        "import ae_lightning.cli.main as m\nfrom ae_lightning import run\n"
        "def f():\n    from ae_lightning.data.base import X\n"
    )
    assert ours_imported_by(source) == {"cli.main", "run", "data.base.X"}
    assert rooms_imported_by(source) == {"cli", "run", "data"}
    assert file_of("data.base.X") == PACKAGE / "data" / "base.py"
    assert file_of("run.Nonsense") == PACKAGE / "run" / "__init__.py"


def test_a_circle_is_found_wherever_it_is():
    assert circle_in({"a": {"b", "c"}, "b": {"c"}, "c": set()}) is None
    assert circle_in({"a": {"b"}, "b": {"c"}, "c": {"d"}, "d": {"b"}}) == ["b", "c", "d", "b"]
    assert circle_in({"a": {"a"}}) == ["a", "a"]


def test_every_room_has_a_place() -> None:
    new = {room_of(path) for path in FILES} - DOORS - LEVEL.keys()
    assert not new, "say in LEVELS where they belong"


def test_arrows_never_point_up() -> None:
    upward = [
        f"{by_file(path)} imports from {other}"
        for path in FILES
        if room_of(path) in LEVEL
        for other in rooms_imported_by(path)
        if LEVEL.get(other, len(LEVELS)) > LEVEL[room_of(path)]
    ]
    assert not upward


def test_between_two_rooms_imports_go_one_way():
    arrows: dict[str, set[str]] = {}
    for path in FILES:
        if room_of(path) not in DOORS:
            arrows.setdefault(room_of(path), set()).update(rooms_imported_by(path) - {room_of(path)})
    assert len(arrows) == len(LEVEL)
    assert circle_in(arrows) is None


def test_no_file_imports_itself_by_way_of_others():
    """Of types and within functions too: what is hidden from the interpreter is still to be read together."""
    arrows = {path: {file for name in ours_imported_by(path) if (file := file_of(name))} for path in FILES}
    assert sum(map(len, arrows.values())) > 500
    circle = circle_in(arrows)
    assert circle is None, " imports ".join(by_file(path) for path in circle or ())


def test_pure_rooms_know_neither_lightning_nor_the_others() -> None:
    pure = [path for path in FILES if room_of(path) in PURE]
    assert {room_of(path) for path in pure} == PURE
    theirs = [(path, name) for path in pure for name in imports_of(path) if not is_ours(name)]
    assert not [f"{by_file(path)} imports {name}" for path, name in theirs if "lightning" in name.split(".")[0]]
    others = [(path, room) for path in pure for room in rooms_imported_by(path) - PURE - {"errors"}]
    assert not [f"{by_file(path)} imports {room}" for path, room in others]


def test_pyplot_with_its_global_state_and_its_windows_is_imported_nowhere() -> None:
    drawing = ("matplotlib.pyplot", "pylab")
    assert not [by_file(path) for path in FILES if any(name.startswith(drawing) for name in imports_of(path))]


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
