"""Every YAML file is read by `yaml_file`, which knows what a hostile one may hold."""

import ast
from pathlib import Path

import ae_lightning

PACKAGE = Path(ae_lightning.__file__).parent
READERS = {"load", "safe_load", "full_load", "unsafe_load", "load_all", "safe_load_all", "SafeLoader", "Loader"}
FROM_A_FILE = {"read_text", "read_bytes", "open", "read"}


def bare_readers(source: str) -> list[int]:
    """Lines in which PyYAML itself is given what comes out of a file."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and ast.unparse(node.func.value) == "yaml"
        and node.func.attr in READERS
        and any(getattr(inner, "attr", getattr(inner, "id", "")) in FROM_A_FILE for inner in ast.walk(node))
    ]


def test_a_bare_reader_is_found():
    assert bare_readers("import yaml\nyaml.safe_load(path.read_text())\nyaml.safe_load(open(path))\n") == [2, 3]
    assert bare_readers("import yaml\nyaml.safe_load(parser.dump(config))\nread_yaml(path)\n") == []


def test_files_are_read_with_care():
    known = PACKAGE / "yaml_file.py"
    found = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        if path != known and bare_readers(path.read_text(encoding="utf-8"))
    }
    assert found == set()
