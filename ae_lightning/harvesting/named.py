"""Objects of the user's own, named as MODULE:NAME or FILE.py:NAME."""

import contextlib
import difflib
import importlib
import importlib.util
import os
import sys
import traceback
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

from ae_lightning import safe_mode
from ae_lightning.errors import ConfigError, UserError


def import_named(spec: str, option: str) -> Any:
    """Import an object; its module's code runs.

    Modules are looked for where Python looks for them, and then in the current folder.

    Args:
        spec: `package.module:name`, or `path/to/file.py:name`. The name may have dots, as `Models.small`.
        option: What names it, for messages.

    Raises:
        ConfigError: There is no such module or name, its code fails, or the process is in safe mode.
    """
    where, _, name = spec.rpartition(":")
    if not where or not name:
        raise ConfigError(f"{option} {spec}: name an object as MODULE:NAME, such as mine.networks:Net")
    if safe_mode.is_on():
        raise ConfigError(
            f"{option} {spec} runs the code of {where}, which --safe does not allow: leave --safe out if you trust it"
        )
    found: Any = _file(Path(where), spec, option) if where.endswith(".py") else _module(where, spec, option)
    for part in name.split("."):
        if not hasattr(found, part):
            raise ConfigError(f"{option} {spec}: {where} has no {name}{nearest(part, vars(found))}")
        found = getattr(found, part)
    return found


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint at the nearest known name, as the end of a sentence; empty where none is near."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


def first_line(error: Exception) -> str:
    """What an error of other code says, in a line; its class where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


@contextlib.contextmanager
def own_code(what: str) -> Iterator[None]:
    """Tell in a sentence where code of the user's own fails that runs within the block.

    Args:
        what: What runs it, as the beginning of the sentence.

    Raises:
        ConfigError: It fails, and not with a sentence of ours.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # whatever that code raises
        raise ConfigError(f"{what} fails with a {type(error).__name__}{_where(error)}: {first_line(error)}") from error


def _where(error: Exception) -> str:
    """The line at which code of the user's own was left for the last time, where there is one."""
    if isinstance(error, SyntaxError):
        return f" in {error.filename}, line {error.lineno}"
    below = traceback.extract_tb(error.__traceback__)[1:]  # the first frame is the one that runs it
    installed = (f"{os.sep}site-packages{os.sep}", "<frozen")
    own = [f for f in below if not any(part in f.filename for part in installed) and f.filename != __file__]
    return f" in {own[-1].filename}, line {own[-1].lineno}" if own else ""


def _module(name: str, spec: str, option: str) -> ModuleType:
    if (here := os.getcwd()) not in sys.path:
        sys.path.append(here)
    importlib.invalidate_caches()
    try:
        with _running(name, spec, option):
            return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):  # what it imports itself
            raise ConfigError(f"{option} {spec}: {name} needs the module {error.name}, which is not there") from error
        raise ConfigError(
            f"{option} {spec}: there is no module {error.name}, neither among the installed packages nor in {here}"
        ) from error


@contextlib.contextmanager
def _running(code: str, spec: str, option: str) -> Iterator[None]:
    """As `own_code`, but for modules that are not there, of which more can be said."""
    missing: ModuleNotFoundError | None = None
    with own_code(f"{option} {spec}: {code}"):
        try:
            yield
        except ModuleNotFoundError as error:
            missing = error
    if missing is not None:
        raise missing


def _file(path: Path, spec: str, option: str) -> ModuleType:
    if not path.is_file():
        raise ConfigError(f"{option} {spec}: there is no file {path}")
    described = importlib.util.spec_from_file_location(path.stem, path)
    assert described is not None  # of a name that ends with .py there is always a loader
    assert described.loader is not None
    module = importlib.util.module_from_spec(described)
    sys.modules[path.stem] = module  # where its classes say that they come from
    try:
        with _running(str(path), spec, option):
            described.loader.exec_module(module)
    except ModuleNotFoundError as error:
        raise ConfigError(f"{option} {spec}: {path} needs the module {error.name}, which is not there") from error
    return module
