"""Config files checked before they are parsed: what the parser would not tell clearly, or never come to an end over."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ae_lightning.cli.command_line import CommandLine, is_file
from ae_lightning.errors import ConfigError
from ae_lightning.yaml_file import BeyondMeasure, read_settings, read_yaml, require_regular_files, texts_in

_LARGEST_UNNAMED = 100_000  # bytes of a part whose name does not say that it is one


def check_files(line: CommandLine) -> None:
    """Check the configs that are named on a command line, and all parts that they name in turn.

    Raises:
        ConfigError: One cannot be read, holds no options by name, or something else stands where a class is named.
    """
    checked: set[Path] = set()

    def check(content: Any, path: Path) -> None:
        require_regular_files(content, path.parent)
        for part in _files_in(content, path.parent):
            if part.resolve() in checked:
                continue
            checked.add(part.resolve())
            inner = _read_part(part) if _is_yaml(part.name) else _read_if_settings(part)
            _check_classes(inner, part, "")
            check(inner, part)

    for path in line.config_files:
        settings = read_settings(path)
        _check_sections(settings, path)
        _check_classes(settings, path, "")
        check(settings, path)
    check([option.value for option in line.options], Path("arguments"))


def _files_in(content: Any, folder: Path) -> Iterator[Path]:
    """Files that are named anywhere in what was read from a config in this folder."""
    return (folder / name for name in texts_in(content) if is_file(folder / name))


def _is_yaml(name: str) -> bool:
    return name.endswith((".yaml", ".yml"))


def _read_part(part: Path) -> Any:
    inner = read_yaml(part)
    if inner is None:
        raise ConfigError(f"{part}: it is empty, though it is named as a part of a config")
    return inner


def _read_if_settings(path: Path) -> Any:
    """What a file of another ending holds, which the parser takes for a part where a class is named; None for data."""
    if path.stat().st_size > _LARGEST_UNNAMED:
        return None
    try:
        return read_yaml(path)
    except BeyondMeasure:
        raise
    except ConfigError:
        return None


def _check_sections(settings: dict[str, Any], path: Path) -> None:
    if unnamed := [name for name in settings if not isinstance(name, str)]:
        raise ConfigError(f"{path}: options are named by words, such as `model: …`, and not by {unnamed[0]}")
    trainer = settings.get("trainer", {})
    if not isinstance(trainer, dict) and not (isinstance(trainer, str) and _is_yaml(trainer)):
        raise ConfigError(
            f"{path}: trainer is {trainer!r}; it holds options by name, such as `max_epochs: 5`, or names a part such "
            "as trainer/cpu.yaml"
        )
    _check_callbacks(trainer, path)
    if "data" in settings and settings["data"] is None:
        raise ConfigError(f"{path}: data is empty; name a class or a part, or leave it out for the bundled digits")


def _check_callbacks(trainer: Any, path: Path) -> None:
    callbacks = trainer.get("callbacks") if isinstance(trainer, dict) else None
    if isinstance(callbacks, dict) and "class_path" not in callbacks:  # the parser would drop them without a word
        raise ConfigError(
            f"{path}: trainer.callbacks is {callbacks}; it is a list, of such as `- class_path: EarlyStopping`"
        )


def _check_classes(content: Any, path: Path, where: str) -> None:
    """Check that what stands for a class has its name and its arguments in the form that the parser takes."""
    if isinstance(content, list):
        for inner in content:
            _check_classes(inner, path, where)
    if not isinstance(content, dict):
        return
    of = f" of {where}" if where else ""
    if "class_path" in content and not isinstance(content["class_path"], str):
        raise ConfigError(f"{path}: class_path{of} is {content['class_path']!r}; it must be the name of a class")
    arguments = content.get("init_args")
    if "class_path" in content and not (arguments is None or isinstance(arguments, dict)):
        raise ConfigError(f"{path}: init_args{of} is {arguments!r}; it holds options by name, such as `latent_dim: 16`")
    for name, inner in content.items():
        if name in ("optimizer", "lr_scheduler") and not (inner is None or isinstance(inner, (str, dict))):
            raise ConfigError(f"{path}: {name}{of} is {inner!r}; it must be the name of a class, or hold class_path")
        _check_classes(inner, path, where if name == "init_args" else f"{where}.{name}".lstrip("."))


def names_data(line: CommandLine) -> bool:
    """Whether the class of the data is named on the command line or in a config."""
    if line.has("--data", "--data.class_path"):
        return True
    named = [read_settings(path).get("data") for path in line.config_files]
    return any(isinstance(data, str) or (isinstance(data, dict) and "class_path" in data) for data in named)
