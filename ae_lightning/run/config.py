"""`config.yaml`: the resolved settings of a run's latest fit, and those of earlier ones beside it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ae_lightning.errors import ConfigError, RunFolderError
from ae_lightning.files import write_text
from ae_lightning.yaml_file import first_comment, parse_yaml, read_settings

CONFIG_NAME = "config.yaml"
"""A folder that holds such a file is that of a run."""


def is_run(folder: Path) -> bool:
    """Whether a folder is that of a run."""
    return (folder / CONFIG_NAME).is_file()


def read_config(folder: Path) -> dict[str, Any]:
    """The settings of a run's latest fit.

    Raises:
        RunFolderError: The file is missing or damaged.
    """
    return _read(read_settings, folder)


def read_purpose(folder: Path) -> str:
    """What a run was for, as the config that it was started with says in its first line; empty where it says nothing.

    Raises:
        RunFolderError: The file is missing or damaged.
    """
    return _read(first_comment, folder)


def write_config(folder: Path, text: str) -> None:
    """Write the settings, given as YAML. Where they differ, the earlier ones become `config.1.yaml`, and so on.

    Raises:
        RunFolderError: The earlier ones are damaged.
    """
    path = folder / CONFIG_NAME
    if path.is_file():
        if read_config(folder) == parse_yaml(text, path):
            return
        earlier = sum(1 for _ in folder.glob("config.*.yaml"))
        path.rename(path.with_name(f"config.{earlier + 1}.yaml"))
    write_text(path, text)


def amend_config(folder: Path, text: str) -> None:
    """Write the settings, given as YAML, in place of those that the same fit wrote when it began."""
    write_text(folder / CONFIG_NAME, text)


def _read(reader: Callable[[Path], Any], folder: Path) -> Any:
    try:
        return reader(folder / CONFIG_NAME)
    except ConfigError as error:
        raise RunFolderError(f"the settings of a run are damaged: {error}") from error
