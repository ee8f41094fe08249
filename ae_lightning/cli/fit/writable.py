"""Settings as YAML can hold them: without the defaults that it has no form for, and with every text as it is."""

import inspect
import pydoc
from collections.abc import Iterable, Iterator
from typing import Any

import yaml
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


def with_texts(written: str, settings: Any) -> str:
    """The YAML that the parser has written of settings, with the texts that it took for functions it could not name.

    Where an argument may be a function or a text, such as the name of one, it writes a complaint in front of the text.
    """
    content = yaml.safe_load(written)
    mended = [owner.update({name: text}) for owner, name, text in _complaints(content, settings)]
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True) if mended else written


def _complaints(written: Any, settings: Any) -> Iterator[tuple[dict[str, Any], str, str]]:
    pairs: Iterable[tuple[Any, Any]] = ()
    if isinstance(written, list) and isinstance(settings, list):
        pairs = zip(written, settings, strict=True)
    elif isinstance(written, dict) and isinstance(settings, Namespace):
        both = [name for name in written if name in vars(settings)]
        pairs = [(written[name], vars(settings)[name]) for name in both]
        for name, (now, text) in zip(both, pairs, strict=True):
            if type(text) is str and isinstance(now, str) and now != text and now.endswith(f" {text}"):
                yield written, name, text
    for inner, of in pairs:
        yield from _complaints(inner, of)


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
