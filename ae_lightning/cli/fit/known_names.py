"""Names of options and classes, kept from an earlier start, so that a typo is told before PyTorch is imported.

They are found out by the parser, which takes seconds to import, and hold as long as versions and sources are the same.
Nothing here imports more than a YAML reader.
"""

import contextlib
import hashlib
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ae_lightning.cli.command_line import CONFIG, CommandLine, Option, is_file
from ae_lightning.cli.configs import PACKAGE, packaged
from ae_lightning.cli.guesses import guess, no_class, no_option
from ae_lightning.errors import ConfigError
from ae_lightning.files import write_text
from ae_lightning.version import __version__
from ae_lightning.yaml_file import read_yaml

_DEPENDENCIES = ("torch", "torchvision", "lightning", "jsonargparse")
_PARTS = ("--model", "--data")
_OPTIMIZER = "--model.optimizer"
_OF_ANY_CLASS = {"class_path", "init_args", "dict_kwargs", "help"}


class Kind(NamedTuple):
    """What is known of a class."""

    arguments: list[str]  #: of its constructor and of those above it
    is_abstract: bool


class KnownNames(NamedTuple):
    """The names that one subcommand takes."""

    options: list[str]  #: such as --trainer.max_epochs
    classes: dict[str, dict[str, Kind]]  #: by the option that they are named at, and their short names

    def refuse_unknown(self, line: CommandLine) -> None:
        """Refuse the first option or class that there is not. What cannot be known here passes.

        Args:
            line: What was typed, with the names of packaged files resolved.

        Raises:
            ConfigError: There is one; the sentence is the one that the parser's own message becomes.
        """
        named: dict[str, str | None] = dict.fromkeys(_PARTS) | {_OPTIMIZER: "Adam"}
        if not line.has(CONFIG, "--ckpt_path"):
            named["--data"] = "DigitsDataModule"
        for option in line.options:
            if option.name == CONFIG:
                settings = _settings_in(option.value or "")
                self._require_names(settings)
                named |= _named_in(settings, Path(option.value or "").parent)
            elif option.name.removesuffix(".class_path") in named:
                part = option.name.removesuffix(".class_path")
                named[part] = self._class_at(part, option.value or "")
            elif option.name:
                self._require_option(option, named)

    def _class_at(self, part: str, value: str) -> str | None:
        """Short name of the class that is named at an option; None where it is not one that is known here.

        Raises:
            ConfigError: There is no such class.
        """
        if value.endswith((".yaml", ".yml")):
            return _short(read_yaml(Path(value))) if is_file(Path(value)) else None
        kinds = self.classes[part]
        if part in _PARTS and value.isidentifier() and value not in kinds and value not in ("null", "None"):
            concrete = sorted(name for name, kind in kinds.items() if not kind.is_abstract)
            folder = part.lstrip("-") + "/"
            parts = [name.removeprefix(folder) for name in packaged() if name.startswith(folder)]
            raise ConfigError(no_class(part, value, concrete, parts, concrete))
        return _short(value)

    def _require_option(self, option: Option, named: Mapping[str, str | None]) -> None:
        name = option.name
        if name in self.options or not name.startswith("--"):
            return
        owners = [known for known in (*self.options, _OPTIMIZER) if name.startswith(f"{known}.")]
        owner = max(owners, key=len, default="")
        if owner not in named:
            if f"{owner}.help" in self.options:  # of a class that is not followed up here
                return
            raise ConfigError(no_option(name, self.options))
        kind = self.classes[owner].get(named[owner] or "")
        argument = name[len(owner) + 1 :].removeprefix("init_args.")
        if kind is not None and "." not in argument and argument not in _OF_ANY_CLASS:
            self._require_argument(owner, argument.rstrip("+"), kind)

    def _require_argument(self, owner: str, argument: str, kind: Kind) -> None:
        if argument in kind.arguments:
            return
        known = [f"{owner}.{argument}" for argument in self._arguments_at(owner)]
        if owner == "--model":  # where many look for the learning rate
            known += [f"{_OPTIMIZER}.{argument}" for argument in self._arguments_at(_OPTIMIZER)]
        raise ConfigError(no_option(f"{owner}.{argument}", known))

    def _require_names(self, settings: Mapping[str, Any], group: str = "") -> None:
        """Require that a config names options and arguments that there are, as far as they stand in it itself."""
        for key, value in settings.items():
            name = f"--{group}{key}"
            if "." in key:  # a whole path, which is the parser's business
                continue
            if name in _PARTS:
                self._require_class(name, value)
            elif name not in self.options:
                known = [option.removeprefix("--") for option in self.options]
                first = _first_leaf(f"{group}{key}", value)
                raise ConfigError(f"the config names {first}, which is no option{guess(first, known)}")
            elif isinstance(value, dict) and any(self._is_within(option, name) for option in self.options):
                self._require_names(value, f"{group}{key}.")

    def _require_class(self, option: str, content: Any) -> None:
        """Require that what a config says of a class names one that there is, and arguments of it."""
        if not isinstance(content, dict) or not content.keys() <= {"class_path", "init_args"}:
            return
        kind = self.classes[option].get(self._class_at(option, content.get("class_path") or "") or "")
        arguments = content.get("init_args")
        if kind is None or not isinstance(arguments, dict):
            return
        for name, value in arguments.items():
            self._require_argument(option, name, kind)
            if f"{option}.{name}" == _OPTIMIZER:
                self._require_class(_OPTIMIZER, value)

    @staticmethod
    def _is_within(option: str, group: str) -> bool:
        return option.startswith(f"{group}.") and option != f"{group}.help"

    def _arguments_at(self, option: str) -> list[str]:
        return sorted({argument for kind in self.classes[option].values() for argument in kind.arguments})


def refuse_unknown_names(line: CommandLine) -> bool:
    """Refuse a typo by what an earlier start has found out.

    Returns:
        Whether there was something to go by.

    Raises:
        ConfigError: There is no such option or class.
    """
    names = _read(line.command)
    if names is not None:
        names.refuse_unknown(line)
    return names is not None


def keep(command: str, options: Iterable[str], classes: Mapping[str, Mapping[str, Kind]]) -> None:
    """Keep the names that a subcommand takes for later starts, unless they are kept already."""
    path = _path(command)
    if path is None or _read(command) is not None:
        return
    content = {"key": _key(), "options": list(options), "classes": classes}
    with contextlib.suppress(OSError):  # where nothing can be kept, later starts take as long as this one
        write_text(path, json.dumps(content))


def _read(command: str) -> KnownNames | None:
    path = _path(command)
    if path is None or not is_file(path):
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["key"] != _key():
            return None
        kinds = {option: {name: Kind(*kind) for name, kind in of.items()} for option, of in content["classes"].items()}
        return KnownNames(content["options"], kinds)
    except (ValueError, KeyError, TypeError, AttributeError, OSError):  # damaged: it will be kept anew
        path.unlink(missing_ok=True)
        return None


def _path(command: str) -> Path | None:
    """Where the names of a subcommand are kept, for each environment in a file; None where there is no home."""
    try:
        root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        return None
    environment = hashlib.sha256(f"{sys.prefix} {PACKAGE}".encode()).hexdigest()[:12]
    return root / "ae_lightning" / f"names-{command}-{environment}.json"


def _key() -> str:
    """What the names depend on: versions, and the sources of this package."""
    versions = [platform.python_version(), __version__, *map(importlib.metadata.version, _DEPENDENCIES)]
    sources = [(str(path), path.stat().st_mtime_ns) for path in sorted(PACKAGE.rglob("*.py"))]
    return hashlib.sha256(repr((versions, sources)).encode()).hexdigest()


def _settings_in(config: str) -> dict[str, Any]:
    """What a config holds; empty where there is no such file, or one that is refused elsewhere."""
    settings = read_yaml(Path(config)) if is_file(Path(config)) else None
    return settings if isinstance(settings, dict) else {}


def _named_in(settings: Mapping[str, Any], folder: Path) -> dict[str, str | None]:
    """Short names of the classes that a config names, by option."""
    found: dict[str, str | None] = {"--data": "DigitsDataModule"}
    for part in _PARTS:
        content = settings.get(part.lstrip("-"))
        if isinstance(content, str) and is_file(folder / content):
            content = read_yaml(folder / content)
        if content is not None:
            found[part] = _short(content)
        if part == "--model" and isinstance(content, dict):
            optimizer = (content.get("init_args") or {}).get("optimizer")
            found[_OPTIMIZER] = "Adam" if optimizer is None else _short(optimizer)
    return found


def _first_leaf(name: str, value: Any) -> str:
    """The first of the settings that stand below a name, which is the one that the parser complains of."""
    while isinstance(value, dict) and value:
        key, value = next(iter(value.items()))
        name = f"{name}.{key}"
    return name


def _short(named: Any) -> str | None:
    """Short name of a class of ours or of torch's; None for others, and for what names none."""
    path = named.get("class_path") if isinstance(named, dict) else named
    if not isinstance(path, str) or ("." in path and not path.startswith(("ae_lightning.", "torch.optim."))):
        return None
    return path.rpartition(".")[2]
