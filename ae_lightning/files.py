"""Writing files so that a reader, or a run that is killed, never meets half of one."""

import contextlib
import csv
import errno
import hashlib
import io
import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ae_lightning.errors import RunFolderError

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_APOSTROPHE = tuple(f"'{sign}" for sign in _FORMULA)
_HASHED_AT_ONCE = 2**20
_LONGEST_NUMBER = 18  # digits, all of which fit into 64 bits


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside `path` to write to; rename it to `path` when all went well.

    The temporary file is removed when the block fails, and whatever `path` held before stays.

    Raises:
        OSError: It cannot be written; it names `path`.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with naming(path, temporary):
        try:
            yield temporary
            os.replace(temporary, path)
        finally:
            with contextlib.suppress(OSError):  # of a folder that is gone: what was wrong before is to be told
                temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def naming(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Let an OSError that names no file, as that of a full disk, or the temporary one, name `path`."""
    try:
        yield
    except OSError as error:
        if error.filename is not None and str(error.filename) != str(temporary):
            raise
        raise OSError(error.errno or errno.EIO, error.strerror or str(error), str(path)) from error


def sha256_of(path: Path) -> str:
    """Hash of a file, which is read in pieces, as 64 hexadecimal digits.

    Raises:
        OSError: It cannot be read.
    """
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_HASHED_AT_ONCE):
            digest.update(piece)
    return digest.hexdigest()


def remove_leftovers(folder: Path) -> None:
    """Remove what a process that was killed while it wrote has left in a folder and those within it."""
    for path in folder.rglob(".*.tmp"):
        if path.suffixes[-2:-1] and path.suffixes[-2][1:].isdecimal():  # .<name>.<process>.tmp, as `replacing` has it
            path.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write a text file in one piece, creating its folder if needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write a file in one piece, creating its folder if needed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def write_table(path: Path, columns: Iterable[str], rows: Iterable[Iterable[Any]], line_end: str = "\r\n") -> None:
    r"""Write a CSV file in one piece: a line of names, then a line for each row.

    Args:
        path: The file.
        columns: The names.
        rows: Cells in the order of the columns; None is an empty one. No cell becomes a formula, see `as_cell`.
        line_end: CSV's own, as RFC 4180 has it, or "\n".
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator=line_end)
    writer.writerow(map(as_cell, columns))
    writer.writerows(map(as_cell, row) for row in rows)
    write_text(path, text.getvalue())


def as_cell(value: Any) -> Any:
    """A value as a table holds it: a text that a spreadsheet would take for a formula gets an apostrophe before it.

    Such a text may be a name out of somebody's file. Numbers stay as they are, also where they are texts.
    """
    if not isinstance(value, str) or not value.startswith(_FORMULA) or _is_number(value):
        return value
    return f"'{value}"


def from_cell(text: str) -> str:
    """The text that `as_cell` has made a cell of."""
    return text[1:] if text.startswith(_APOSTROPHE) and not _is_number(text[1:]) else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def read_json(path: Path, kind: type) -> Any:
    """Read a JSON file that holds a list or a mapping, as `kind` says.

    What is no finite number, as earlier versions wrote it and `1e400` is one, is None.

    Raises:
        RunFolderError: It is cut short, or holds something else, or numbers beyond 64 bits.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = json.loads(text, parse_float=_finite, parse_int=_whole, parse_constant=lambda _: None)
    except ValueError as error:
        raise RunFolderError(f"{path} is damaged ({error})") from error
    except RecursionError as error:
        raise RunFolderError(f"{path} is damaged (its values lie too deep within each other)") from error
    if not isinstance(content, kind):
        raise RunFolderError(f"{path} is damaged (it holds no {'list' if kind is list else 'names and values'})")
    return content


def finite(content: Any) -> Any:
    """The same with None in place of each number that is NaN or infinite, which JSON has no word for.

    The reason stands beside it, `<name>_reason`, unless there is one already: that of a list, beside the list.
    """
    if isinstance(content, Mapping):
        kept = {name: finite(value) for name, value in content.items()}
        reasons = {f"{name}_reason": why for name, value in content.items() if (why := _not_finite(value))}
        return kept | {name: why for name, why in reasons.items() if name not in content}
    if isinstance(content, list | tuple):
        return [finite(value) for value in content]
    return None if _not_finite(content) else content


def _not_finite(value: Any) -> str:
    """What keeps a number, or one in a list, from being finite; empty where nothing does."""
    if isinstance(value, list | tuple):
        return next(filter(None, map(_not_finite, value)), "")
    if not isinstance(value, float) or math.isfinite(value):
        return ""
    return "not a number" if math.isnan(value) else "infinite"


def as_json(content: Any, **options: Any) -> str:
    """Content as JSON, in which every number is finite, see `finite`; options are those of `json.dumps`."""
    return json.dumps(finite(content), allow_nan=False, **options)


def _finite(text: str) -> float | None:
    number = float(text)
    return number if math.isfinite(number) else None


def _whole(text: str) -> int:
    if len(text) > _LONGEST_NUMBER:
        raise ValueError(f"a whole number of {len(text):,} digits")
    return int(text)


def write_json(path: Path, content: Any) -> None:
    """Write JSON in one piece, indented for people to read; see `as_json`."""
    write_text(path, as_json(content, indent=2) + "\n")
