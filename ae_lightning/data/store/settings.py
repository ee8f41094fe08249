"""What a harvest was asked for, written before its first row: a harvest goes on only where it is asked for the same."""

from __future__ import annotations

import contextlib
import fcntl
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ae_lightning.data.store.names import SETTINGS
from ae_lightning.errors import DataError, RunFolderError
from ae_lightning.files import as_json, read_json, write_json


def agree_on_settings(folder: Path, settings: Mapping[str, Any], command: str) -> str:
    """Make a folder for a store, or check that the one that is there was made for the same.

    Args:
        folder: The store.
        settings: What it is to be made with.
        command: The command that makes it, which may be written in another way the next time.

    Returns:
        The command that it was made with.

    Raises:
        DataError: The folder holds something else, or was made with other settings.
        OSError: It cannot be written.
    """
    path, asked = folder / SETTINGS, json.loads(as_json(settings))
    if not path.is_file():
        if folder.exists() and not folder.is_dir():
            raise DataError(f"{folder} is a file; name a folder that is empty, or not there.")
        if folder.is_dir() and any(not entry.name.startswith(".") for entry in folder.iterdir()):
            raise DataError(f"{folder} is not empty and holds no store; name a folder that is empty, or not there.")
        write_json(path, {**asked, "command": command})
        return command
    try:
        made = dict(read_json(path, dict))
    except RunFolderError as error:
        raise DataError(f"{error}; remove {folder}, or name another folder.") from error
    difference = _difference(made, asked)
    if difference is not None:
        name, old, new = difference
        raise DataError(
            f"{folder} holds a harvest whose {name} is {as_json(old)}, and not {as_json(new)}; name another folder, or "
            "remove this one."
        )
    return str(made.get("command", ""))


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Keep other processes from writing into a store, until the block or this process ends.

    Raises:
        DataError: Another one is writing there.
    """
    with (folder / SETTINGS).open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise DataError(
                f"Another process is writing into {folder}; wait for it, or name another folder."
            ) from error
        except OSError:
            pass  # a file system that knows no locks
        yield


def _difference(made: Mapping[str, Any], asked: Mapping[str, Any], prefix: str = "") -> tuple[str, Any, Any] | None:
    """Name of the first setting that differs, and both of its values."""
    for name in dict.fromkeys([*asked, *made]):
        old, new = made.get(name), asked.get(name)
        if old == new or (not prefix and name == "command"):
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            if name == "arrays" and list(old) != list(new):  # the layers, of which the widths follow
                return "arrays", list(old), list(new)
            return _difference(old, new, f"{prefix}{name}.")
        return f"{prefix}{name}".removeprefix("settings."), old, new
    return None
