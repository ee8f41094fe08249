"""YAML, read with an error that tells the line, and with limits: a small text can stand for billions of values.

Everything that is YAML goes through here: files of settings, and what jsonargparse reads, see `parser_limits`.
"""

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from ae_lightning.errors import ConfigError

MOST_BYTES = 4_000_000
"""Size that a file of settings may have."""

MOST_VALUES = 100_000
"""Values that a file may hold once its aliases are written out."""


class BeyondMeasure(ConfigError):
    """YAML that no computer could hold, or a file without an end."""


def read_settings(path: Path) -> dict[str, Any]:
    """Read a file that holds settings by name.

    Raises:
        ConfigError: As `read_yaml`; or the file holds something else, or nothing.
    """
    content = read_yaml(path)
    if not isinstance(content, dict):
        raise ConfigError(f"{path}: a config holds options by name, such as `model: …`, but this one does not")
    return content


def read_yaml(path: Path) -> Any:
    """Read a file as plain values; no tag in it can name a class.

    Raises:
        ConfigError: As `parse_yaml`; or the file is no text.
    """
    return parse_yaml(_read_text(path), path)


def first_comment(path: Path) -> str:
    """What a file says of itself: its first line, where that is a comment; else nothing.

    Raises:
        ConfigError: As `read_yaml`, but for what is no YAML.
    """
    first = next(iter(_read_text(path).splitlines()), "")
    return first.lstrip("# ").strip() if first.startswith("#") else ""


def _read_text(path: Path) -> str:
    _require_regular(path)
    if (size := path.stat().st_size) > MOST_BYTES:
        raise BeyondMeasure(f"{path}: it has {size:,} bytes, and a file of settings at most {MOST_BYTES:,}")
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not a YAML text file ({error})") from error


def _require_regular(path: Path) -> None:
    """Refuse a pipe or a device, which may have no end."""
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError):  # there is none, and the name can be too long for one
        return
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise BeyondMeasure(f"{path} is a pipe or a device: settings are read from files")


def require_regular_files(content: Any, folder: Path) -> None:
    """Check that no text in settings names a pipe or a device, since the parser opens what it takes for a part.

    Args:
        content: The settings.
        folder: Where they lie; names are looked for there and in the current folder.

    Raises:
        BeyondMeasure: One does.
    """
    for name in texts_in(content):
        for path in {folder / name, Path(name)}:
            _require_regular(path)


def texts_in(content: Any) -> Iterator[str]:
    """All texts in settings but the names of these."""
    if isinstance(content, dict):
        content = list(content.values())
    if isinstance(content, (list, tuple)):
        for inner in content:
            yield from texts_in(inner)
    elif isinstance(content, str):
        yield content


def parse_yaml(text: str, path: Path) -> Any:
    """Read the text of a file as plain values; no tag in it can name a class.

    Args:
        text: The text.
        path: The file, for messages.

    Raises:
        ConfigError: It is no YAML, gives a name twice, holds itself by an alias, or grows beyond all measure when its
            aliases are written out. The message tells the line where there is one.
    """
    try:
        loader = _CountingLoader(text, path)
        node = loader.get_single_node()
        if node is None:
            return None
        _check(node, path, [], 0)
        return loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        raise ConfigError(f"{_place(path, error.problem_mark)}: not valid YAML, {error.problem}") from error
    except (yaml.YAMLError, ValueError) as error:  # such as the date 2020-99-99
        raise ConfigError(f"{path}: not a YAML text file ({str(error).splitlines()[0]})") from error
    except RecursionError as error:
        raise BeyondMeasure(f"{path}: its lists and mappings lie too deep within each other") from error


class _CountingLoader(yaml.SafeLoader):
    """PyYAML's loader, which gives up when there are too many values."""

    def __init__(self, text: str, path: Path) -> None:
        super().__init__(text)
        self._path = path
        self._count = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Count a value, and make its node."""
        self._count += 1
        if self._count > MOST_VALUES:
            raise BeyondMeasure(f"{self._path}: it holds more than {MOST_VALUES:,} values")
        return super().compose_node(parent, index)


def _check(node: yaml.Node, path: Path, outer: list[yaml.Node], count: int) -> int:
    """Count the values in a node and those before it, each as often as an alias repeats it."""
    if any(node is other for other in outer):
        raise BeyondMeasure(f"{_place(path, node.start_mark)}: an alias in this value stands for the value itself")
    if count > MOST_VALUES:
        raise BeyondMeasure(f"{path}: its aliases stand for more than {MOST_VALUES:,} values")
    count += 1
    inner: list[yaml.Node] = []
    if isinstance(node, yaml.MappingNode):
        _check_names(node, path)
        inner = [value for _, value in node.value]
    elif isinstance(node, yaml.SequenceNode):
        inner = node.value
    for value in inner:
        count = _check(value, path, [*outer, node], count)
    return count


def _check_names(node: yaml.MappingNode, path: Path) -> None:
    first: dict[tuple[str, Any], int] = {}
    for name, _ in node.value:
        key = (name.tag, name.value if isinstance(name, yaml.ScalarNode) else id(name))
        if key in first:
            raise ConfigError(
                f"{_place(path, name.start_mark)}: {name.value} is given a second time, first in line {first[key]}: "
                "leave one of them out"
            )
        first[key] = name.start_mark.line + 1


def _place(path: Path, mark: yaml.Mark | None) -> str:
    return f"{path}, line {mark.line + 1}, column {mark.column + 1}" if mark else str(path)
