"""Variants of other packages, found by their entry points; one that cannot be used is told of and left out."""

import functools
import importlib
import inspect
import warnings
from collections.abc import Collection
from typing import NamedTuple

from ae_lightning import safe_mode
from ae_lightning.entry_points import GROUP, Declared, declared_variants
from ae_lightning.errors import ConfigError, Notice
from ae_lightning.models.base import Autoencoder


class Installed(NamedTuple):
    """What the entry points of the group come to."""

    variants: dict[str, type[Autoencoder]]  #: by class name
    faults: dict[str, str]  #: a sentence for each name that stands for no usable class


def installed_variants(own: Collection[str]) -> Installed:
    """Import the variants that installed packages declare; none in safe mode.

    Those that cannot be used are left out, with a notice the first time.

    Args:
        own: Class names that are taken: those of this package's variants.
    """
    if safe_mode.is_on():
        return Installed({}, {})
    return _imported(tuple(declared_variants()), frozenset(own))


@functools.cache
def _imported(declared: tuple[Declared, ...], own: frozenset[str]) -> Installed:
    found = Installed({}, {})
    for each in declared:
        kind = _variant_or_fault(each, declared, own)
        if isinstance(kind, str):
            warnings.warn(kind, Notice, stacklevel=4)
            found.faults[each.name] = kind
        else:
            found.variants[each.name] = kind
    return found


def _variant_or_fault(one: Declared, declared: tuple[Declared, ...], own: frozenset[str]) -> type[Autoencoder] | str:
    try:
        _require_free(one, declared, own)
        return _load(one)
    except ConfigError as error:
        return f"the variant {one.name} of {one.distribution} cannot be used: {error}"


def _require_free(one: Declared, declared: tuple[Declared, ...], own: frozenset[str]) -> None:
    if one.name in own:
        raise ConfigError("a variant of ae_lightning has this name; give the class another one")
    # The module is not imported at all: the parser would then know two classes by that name, and take neither.
    if taken := [each.name for each in declared if each.module == one.module and each.name in own]:
        raise ConfigError(f"beside it {one.module} declares {taken[0]}, as a variant of ae_lightning is called")
    if others := [each for each in declared if each.name == one.name and each != one]:
        raise ConfigError(f"{others[0].distribution} declares one of this name too; name either by its import path")


def _load(declared: Declared) -> type[Autoencoder]:
    """Import what an entry point names, and require that it is a variant that can be named.

    Raises:
        ConfigError: It cannot be imported, is no variant, or goes by another name; the message is half a sentence.
    """
    module, _, name = declared.value.partition(":")
    if not name.isidentifier() or any(part.startswith("_") for part in declared.class_path.split(".")):
        raise ConfigError(f"its entry point in {GROUP} must be package.module:Class of public names")
    try:
        kind = getattr(importlib.import_module(module), name)
    except (Exception, SystemExit) as error:  # whatever a module does when it is imported
        said = str(error).partition("\n")[0]
        raise ConfigError(f"importing {declared.class_path} ended in {type(error).__name__}: {said}") from error
    if not (issubclass(type(kind), type) and issubclass(kind, Autoencoder)):
        raise ConfigError(f"{declared.class_path} is not an Autoencoder")
    if inspect.isabstract(kind):
        raise ConfigError(f"{declared.class_path} is abstract: it lacks {', '.join(sorted(kind.__abstractmethods__))}")
    if kind.__name__ != declared.name:
        raise ConfigError(f"the class is called {kind.__name__}; call its entry point in {GROUP} the same")
    return kind
