"""Settings as YAML can hold them: without the defaults of classes that it has no form for."""

import inspect
import pydoc
from collections.abc import Iterator
from typing import Any

from jsonargparse import Namespace

_WRITTEN = (str, int, float, bool, type(None), list, tuple, dict, Namespace)


def writable(settings: Any) -> Any:
    """A copy of parsed settings that lacks the defaults which the parser could not write, such as a `torch.device`.

    Whoever reads the settings again gets them from the class, as whoever never named them.
    """
    if isinstance(settings, list):
        return [writable(item) for item in settings]
    if not isinstance(settings, Namespace):
        return settings
    copy = settings.clone()
    for name, value in vars(settings).items():
        copy[name] = writable(value)
    arguments = copy.get("init_args")
    if isinstance(copy.get("class_path"), str) and isinstance(arguments, Namespace):
        for name in list(_unwritable_defaults(copy.class_path, vars(arguments))):
            del arguments[name]
    return copy


def _unwritable_defaults(class_path: str, arguments: dict[str, Any]) -> Iterator[str]:
    # An enumeration's member is a str to Python, and none to YAML. Functions are written by their name.
    odd = {name: value for name, value in arguments.items() if type(value) not in _WRITTEN and not callable(value)}
    defaults = _defaults(pydoc.locate(class_path)) if odd else {}
    for name, value in odd.items():
        if name in defaults and (value is defaults[name] or value == defaults[name]):
            yield name


def _defaults(kind: Any) -> dict[str, Any]:
    """Defaults of a class's arguments, with those that it hands on to the classes above it."""
    found: dict[str, Any] = {}
    for base in reversed(inspect.getmro(kind)):
        if "__init__" in vars(base):
            found |= {name: parameter.default for name, parameter in inspect.signature(base).parameters.items()}
    return found
