"""Names of options and classes, kept from an earlier start, so that a typo is told before PyTorch is imported.

They are found out by the parser, which takes seconds to import, and hold as long as versions and sources are the same.
Nothing here imports more than a YAML reader. Variants of other packages, whose sources may change at any time, are not
kept: each start reads their names anew.
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

from ae_lightning import safe_mode
from ae_lightning.cli.command_line import CommandLine, is_file
from ae_lightning.cli.configs import PACKAGE, packaged
from ae_lightning.cli.guesses import guess, no_class, no_option
from ae_lightning.entry_points import declared_variants
from ae_lightning.errors import ConfigError
from ae_lightning.files import as_json, write_text
from ae_lightning.version import __version__
from ae_lightning.yaml_file import read_yaml

_DEPENDENCIES = ("torch", "torchvision", "lightning", "jsonargparse")
_PARTS = ("--model", "--data")
_OPTIMIZER = "--model.optimizer"
OWNERS = (*_PARTS, _OPTIMIZER)
"""Options at which classes are named whose arguments are known."""

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
        if line.options and line.options[0].name:  # options before the command are not those of the command
            return
        for config in line.config_files:
            self._require_names(_settings_in(config))
        for part in _PARTS:
            for value in line.values(part, f"{part}.class_path"):
                self._require_class_name(part, value)
        kinds = self._kinds_on(line)
        for option in line.options:
            if option.name.startswith("--") and option.name not in self.options:
                self._require_option(option.name, kinds)

    def _kinds_on(self, line: CommandLine) -> dict[str, Kind | None]:
        """The classes that options belong to; None where one is not known for certain."""
        kinds = {part: self.classes[part].get(_only_class(part, line) or "") for part in _PARTS}
        kinds[_OPTIMIZER] = None
        if kinds["--model"] is not None:
            kinds[_OPTIMIZER] = self.classes[_OPTIMIZER].get(_only_optimizer(line) or "")
        return kinds

    def _require_class_name(self, part: str, value: str) -> None:
        known = self.classes[part]
        if not value.isidentifier() or value in known or value in ("null", "None") or is_file(Path(value)):
            return
        installed = [declared.name for declared in declared_variants()] if part == "--model" else []
        if value in installed:  # what arguments it takes, and whether it is of any use, is known once it is imported
            return
        concrete = [name for name, kind in known.items() if not kind.is_abstract]
        concrete = sorted(concrete if safe_mode.is_on() else {*concrete, *installed})
        folder = part.lstrip("-") + "/"
        parts = [name.removeprefix(folder) for name in packaged() if name.startswith(folder)]
        raise ConfigError(no_class(part, value, concrete, parts, concrete))

    def _require_option(self, name: str, kinds: Mapping[str, Kind | None]) -> None:
        owners = [known for known in (*self.options, _OPTIMIZER) if name.startswith(f"{known}.")]
        owner = max(owners, key=len, default="")
        if owner in kinds:
            kind, argument = kinds[owner], name[len(owner) + 1 :].removeprefix("init_args.")
            if kind is not None and "." not in argument and argument not in _OF_ANY_CLASS:
                self._require_argument(owner, argument.rstrip("+"), kind)
        elif not owner or self._is_group(owner):  # else it is an item of a value, or of a class not followed up here
            raise ConfigError(no_option(name, self.options))

    def _require_argument(self, owner: str, argument: str, kind: Kind) -> None:
        if argument in kind.arguments:
            return
        known = [f"{owner}.{argument}" for argument in self._arguments_at(owner)]
        if owner == "--model":  # where many look for the learning rate
            known += [f"{_OPTIMIZER}.{argument}" for argument in self._arguments_at(_OPTIMIZER)]
        raise ConfigError(no_option(f"{owner}.{argument}", known, self._classes_with(owner, argument)))

    def _classes_with(self, owner: str, argument: str) -> list[str]:
        kinds = self.classes[owner].items()
        return [name for name, kind in kinds if argument in kind.arguments and not kind.is_abstract]

    def _require_names(self, settings: Mapping[str, Any], group: str = "") -> None:
        """Require that a config names options and arguments that there are, as far as they stand in it itself."""
        if not _is_plain(settings):
            return
        for key, value in settings.items():
            name = f"--{group}{key}"
            if name in _PARTS:
                self._require_class(name, value)
            elif name not in self.options:
                known = [option.removeprefix("--") for option in self.options]
                first = _first_leaf(f"{group}{key}", value)
                raise ConfigError(f"the config names {first}, which is no option{guess(first, known)}")
            elif isinstance(value, dict) and self._is_group(name):
                self._require_names(value, f"{group}{key}.")

    def _require_class(self, option: str, content: Any) -> None:
        """Require that what a config says of a class names one that there is, and arguments of it."""
        if not isinstance(content, dict) or not content.keys() <= {"class_path", "init_args"}:
            return
        if option in _PARTS and isinstance(content.get("class_path"), str):
            self._require_class_name(option, content["class_path"])
        kind, arguments = self.classes[option].get(_short(content) or ""), content.get("init_args")
        if kind is None or not isinstance(arguments, dict) or not _is_plain(arguments):
            return
        for name, value in arguments.items():
            self._require_argument(option, name, kind)
            if f"{option}.{name}" == _OPTIMIZER:
                self._require_class(_OPTIMIZER, value)

    def _is_group(self, name: str) -> bool:
        """Whether there are options below this one, and not only help on a class."""
        return any(option.startswith(f"{name}.") for option in self.options if option != f"{name}.help")

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
        write_text(path, as_json(content))


def _read(command: str) -> KnownNames | None:
    path = _path(command)
    if path is None or not is_file(path):
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["key"] != _key():
            return None
        classes = content["classes"]
        kinds = {owner: {name: Kind(*kind) for name, kind in classes[owner].items()} for owner in OWNERS}
        return KnownNames(list(content["options"]), kinds)
    except (ValueError, KeyError, TypeError, AttributeError, OSError):  # damaged: it is kept anew
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
    versions = [platform.python_version(), __version__, *map(_version, _DEPENDENCIES)]
    sources = [(str(path), path.stat().st_mtime_ns) for path in sorted(PACKAGE.rglob("*.py"))]
    return hashlib.sha256(repr((versions, sources)).encode()).hexdigest()


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # it came here by another way
        return ""


def _settings_in(config: Path) -> dict[str, Any]:
    """What a config holds; empty where it holds something else, which is refused elsewhere."""
    settings = read_yaml(config)
    return settings if isinstance(settings, dict) else {}


def _is_plain(settings: Mapping[Any, Any]) -> bool:
    """Whether all names are words, and none a whole path, which is the parser's business."""
    return all(isinstance(key, str) and "." not in key for key in settings)


def _named_on(part: str, line: CommandLine) -> list[tuple[Any, Path]]:
    """What each place says of a part, a text or a mapping, and the folder that paths in it start from."""
    key = part.removeprefix("--")
    found: list[tuple[Any, Path]] = [(value, Path()) for value in line.values(part, f"{part}.class_path")]
    for config in line.config_files:
        settings = _settings_in(config)
        if any(str(name).partition(".")[0] == key for name in settings):
            found.append((settings.get(key), config.parent))
    return found


def _only_class(part: str, line: CommandLine) -> str | None:
    """Short name of the class of a part; None where none is named, or by more than one place, or by a checkpoint."""
    named = _named_on(part, line)
    if line.has("--ckpt_path", f"{part}.init_args") or len(named) > 1 or _is_set_before_named(part, line):
        return None
    if not named:
        return "DigitsDataModule" if part == "--data" else None
    return _short(_followed(*named[0]))


def _only_optimizer(line: CommandLine) -> str | None:
    """Short name of the optimizer of a model that one place names; None where it is not known."""
    ((model, folder),) = _named_on("--model", line)
    model = _followed(model, folder)
    arguments = model.get("init_args") if isinstance(model, dict) else None
    told = [arguments["optimizer"]] if isinstance(arguments, dict) and "optimizer" in arguments else []
    if isinstance(arguments, dict) and not _is_plain(arguments):
        return None
    typed = [option for option in line.options if option.name.replace(".init_args", "").startswith(_OPTIMIZER)]
    told += [option.value for option in typed if option.name == _OPTIMIZER]
    if any(option.name.endswith((".class_path", ".init_args.optimizer")) for option in typed) or len(told) > 1:
        return None
    if _is_set_before_named(_OPTIMIZER, line):
        return None
    return _short(told[0]) if told else "Adam"


def _is_set_before_named(owner: str, line: CommandLine) -> bool:
    """Whether an argument is given before the class that the line names, which the parser then leaves out."""
    names = [option.name for option in line.options]
    before = names[: names.index(owner)] if owner in names else []
    return any(name.startswith(f"{owner}.") for name in before)


def _followed(content: Any, folder: Path) -> Any:
    """What a part says: itself, or what the file holds that it names."""
    if isinstance(content, str) and content.endswith((".yaml", ".yml")):
        return read_yaml(folder / content) if is_file(folder / content) else None
    return content


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
    name = path.rpartition(".")[2]
    return name if name.isidentifier() else None  # such as JSON
