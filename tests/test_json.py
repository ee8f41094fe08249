"""Every number in JSON is finite or null, whoever writes it."""

import ast
import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import ae_lightning
from ae_lightning.files import as_json, finite, write_json

PACKAGE = Path(ae_lightning.__file__).parent
# What they write is for the parser of the command line, and for people.
OF_NO_FILE = {"cli/fit/optimizer_defaults.py", "cli/sweep/grid.py", "harvesting/text.py"}

numbers = st.floats(allow_nan=True, allow_infinity=True) | st.integers() | st.none() | st.text(max_size=3)
contents = st.recursive(numbers, lambda inner: st.lists(inner) | st.dictionaries(st.text(max_size=5), inner))


def strict(text: str) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


def plain(content: Any) -> Any:
    """The content with None for each number that is not finite, and without the reasons."""
    if isinstance(content, dict):
        return {name: plain(value) for name, value in content.items() if not name.endswith("_reason")}
    if isinstance(content, list):
        return [plain(value) for value in content]
    return None if isinstance(content, float) and not math.isfinite(content) else content


@given(st.dictionaries(st.text(alphabet="abc", max_size=3), contents))
def test_whatever_is_written_can_be_read_by_any_reader(content: dict[str, Any]) -> None:
    assert plain(strict(as_json(content))) == plain(content)


def test_the_reason_stands_beside_the_number(tmp_path: Path) -> None:
    content = {
        "a": {"error": math.nan, "rate": 1.5},
        "most": math.inf,
        "curve": [1.0, math.nan],
        "rows": [{"x": -math.inf}],
    }
    expected = {
        "a": {"error": None, "rate": 1.5, "error_reason": "not a number"},
        "most": None,
        "curve": [1.0, None],
        "rows": [{"x": None, "x_reason": "infinite"}],
        "most_reason": "infinite",
        "curve_reason": "not a number",
    }
    assert finite(content) == expected
    write_json(tmp_path / "x.json", content)
    assert strict((tmp_path / "x.json").read_text()) == expected


def test_a_reason_that_is_given_is_kept() -> None:
    assert finite({"fvu": math.nan, "fvu_reason": "no variance"}) == {"fvu": None, "fvu_reason": "no variance"}


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_nothing_writes_json_by_itself(path: Path) -> None:
    if path == PACKAGE / "files.py" or path.relative_to(PACKAGE).as_posix() in OF_NO_FILE:
        return
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and node.attr in ("dump", "dumps"):
            assert ast.unparse(node.value) != "json", f"line {node.lineno}: use files.as_json or files.write_json"
