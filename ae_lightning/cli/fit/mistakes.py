"""The command line's parser: what it says when it does not understand."""

import ast
from collections.abc import Iterable
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser

from ae_lightning import safe_mode
from ae_lightning.cli.configs import packaged
from ae_lightning.cli.fit.named_classes import arguments_of, class_names, classes_with, our_class_names
from ae_lightning.cli.fit.writable import with_texts, writable
from ae_lightning.cli.guesses import guess, no_class, no_command, no_option, one_of
from ae_lightning.entry_points import declared_variants
from ae_lightning.models import faults
from ae_lightning.parser_errors import Wording, denied_in, is_wrapped, reason_of
from ae_lightning.safe_mode import refusal
from ae_lightning.training.coefficients import Ramp
from ae_lightning.training.population import PER_INSTANCE
from ae_lightning.upstream import is_tested

# Ours are not named: every run has them unless others are.
_LOGGERS = ("CometLogger", "CSVLogger", "MLFlowLogger", "TensorBoardLogger", "WandbLogger")

HELP = ".help"
"""End of an option that asks for help on a class."""

_KINDS = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "list": "a list such as [1, 2]",
    "Sequence": "a list such as [1, 2]",
    "tuple": "a list such as [1, 2]",
    "dict": "a mapping",
}


class ParseMistake(Exception):
    """The parser's own message, long and technical, not yet put into a sentence."""


class HelpfulParser(LightningArgumentParser):
    """A parser that raises instead of printing its usage, and takes no abbreviated option for another."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, allow_abbrev=False, **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> None:  # type: ignore[override]
        """Raise `ParseMistake`, which `explain` turns into a sentence."""
        raise ParseMistake(message) from ex

    def dump(self, namespace: Namespace, *args: Any, **kwargs: Any) -> str:
        """Write settings as YAML, without the defaults that there is no form for."""
        settings = writable(namespace)
        return with_texts(super().dump(settings, *args, **kwargs), settings)


def explain(message: str, options: Iterable[str], commands: Iterable[str], valueless: Iterable[str] = ()) -> str:
    """Put a parser's message into one sentence: the option, what was wrong, and the nearest valid name.

    The message of a jsonargparse that was not tested, which may mean something else by these words, is shown as it is.

    Args:
        message: What the parser said.
        options: Options of the subcommand in use, such as `--trainer.max_epochs`.
        commands: Names of all subcommands.
        valueless: Options that were typed without a value.
    """
    if not is_tested("jsonargparse"):
        return _in_one_line(message)
    explanations = (
        _of_denied(message),
        _of_schedule(message),
        _of_unknown_option(message, options),
        _of_no_value(message, valueless),
        _of_command(message, commands),
        _of_help(message),
        _of_name_or_class(message),
        _of_class(message),
        _of_value(message),
    )
    return next((sentence for sentence in explanations if sentence), _in_one_line(message))


def _in_one_line(message: str) -> str:
    if is_wrapped(message) and Wording.KEY.find(message):
        return f"{_path(message)}: {reason_of(message)}"
    return " ".join(message.split())


def _of_denied(message: str) -> str | None:
    denied = denied_in(message)
    return refusal(denied, _path(message)) if denied else None


def _of_schedule(message: str) -> str | None:
    """About a setting of a coefficient's schedule: there is none of that name, or it has another kind of value."""
    if not Wording.SCHEDULE.find(message):
        return None
    option = _path(message)
    if match := Wording.OTHER_KEYS.find(message):
        owner = option.removesuffix(f".{match[1]}")
        return no_option(f"{owner}.{match[1]}", [f"{owner}.{name}" for name in Ramp.__annotations__])
    # What only says that a schedule is no number does not tell of the value in it.
    told = [line for line in message.splitlines() if ". Got value: " in line]
    expected = _expected("\n".join(told))
    return f"{option} should be {' or '.join(expected)}, but it is {_given(message)!r}" if expected else None


def _of_unknown_option(message: str, options: Iterable[str]) -> str | None:
    unknown = Wording.UNKNOWN_OPTION.find(message)
    nested = Wording.NESTED_KEY.find(message) if unknown else None
    if unknown and not nested:
        return no_option(unknown[1], options)
    if match := Wording.UNKNOWN_TO_COMMAND.find(message):
        known = [option.removeprefix("--") for option in options]
        return f"the config names {match[1]}, which is no option{guess(match[1], known)}"
    if match := Wording.UNKNOWN_TO_CLASS.find(message) or Wording.UNKNOWN_TO_GROUP.find(message) or nested:
        path, (name, *inner) = _path(message).removesuffix(f".{match[1]}"), match[1].split(".")
        while inner and name in arguments_of(path):  # there is this one, and it holds what there is not
            path, name, inner = f"{path}.{name}", inner[0], inner[1:]
        parent = _find(_given_object(message), name, path) or path.removesuffix(f".{name}")
        known = [f"{parent}.{argument}" for argument in arguments_of(parent)]
        if parent == "--model":  # where many look for the learning rate
            known += [f"--model.optimizer.{argument}" for argument in arguments_of("--model.optimizer")]
        return no_option(f"{parent}.{name}", known, classes_with(parent, name))
    return None


def _of_no_value(message: str, valueless: Iterable[str]) -> str | None:
    match = Wording.NO_VALUE.find(message)
    if match is None:
        return None
    typed = (name for name in valueless if name.startswith(f"{match[1]}."))  # the parser names but the class's option
    return f"{next(typed, match[1])} needs a value"


def _of_command(message: str, commands: Iterable[str]) -> str | None:
    if match := Wording.UNKNOWN_COMMAND.find(message):
        return no_command(match[1], commands)
    if Wording.NO_COMMAND.find(message):
        return no_command("", commands)
    if (match := Wording.MISSING.find(message)) and ".model" in match[1]:
        return (
            "no model was named: give --config with an experiment (`ae-lightning configs` lists them) or --model with "
            "a class (`ae-lightning fit --model.help` lists them)"
        )
    if match and match[1].endswith(".data"):
        return "--data is empty; name a class or a part, or leave it out for the bundled digits"
    return None


def _of_help(message: str) -> str | None:
    """About the class that help was asked for by its short name: the option stands first, not as the parser's key."""
    option, _, rest = message.partition(f"{HELP}: ")
    if not (rest and (match := Wording.NO_DOTTED_PATH.find(rest))):
        return None
    names = class_names(option)
    return _of_declared(option, match[1]) or no_class(f"{option}{HELP}", match[1], names, [], names)


def _of_name_or_class(message: str) -> str | None:
    """About an option that takes one of a few names, or a class with settings of its own."""
    literal, name = Wording.LITERAL.find(message), Wording.NO_DOTTED_PATH.find(message)
    path = _path(message)
    nested = Wording.NESTED_KEY.find_all(message)
    whole = path.removesuffix(f".{nested[0]}") if len(nested) > 1 else path
    if not (literal and name and (classes := our_class_names(whole))):
        return None
    names = literal[1].replace("'", "").split(", ")
    if whole != path:
        return f"{path} belongs to a class, and {name[1]} has no settings: name one with {whole}{_one_of(whole)}"
    listed = f"one of {', '.join(names)}, or one of the classes {', '.join(classes)}"
    return f"{path} should be {listed}, but it is {name[1]!r}{guess(name[1], [*names, *classes])}"


def _of_class(message: str) -> str | None:
    """About the class named at an option: not to be found, of the wrong kind, abstract, or lacking an argument."""
    path, given = _path(message), _given(message)
    if match := Wording.NO_SUCH_CLASS.find(message):
        return f"{path}: there is no class {match[1]} ({match[2]})"
    if match := Wording.OTHER_CLASS.find(message):
        return f"{path}: {given} is no {match[1]}{_one_of(path)}"
    if match := Wording.MISSING.find(message):
        missing = " and ".join(f"{path}.{name}" for name in match[1].split(", "))
        return f"{missing} must be given"
    if Wording.ABSTRACT.find(message):
        content = _given_object(message)
        misplaced = content.keys() - {"class_path", "init_args", "dict_kwargs"} if isinstance(content, dict) else None
        if misplaced:
            return f"{path}: {', '.join(sorted(misplaced))} must stand under init_args, not beside class_path"
        if nested := Wording.NESTED_KEY.find(message):
            whole = path.removesuffix(f".{nested[1]}")
            return f"{path} needs a class to belong to: name one with {whole}{_one_of(whole)}"
        return f"{path}: {given} is abstract{_one_of(path)}"
    return None


def _of_value(message: str) -> str | None:
    if not Wording.KEY.find(message):
        return None
    path, given = _path(message), _given(message)
    expected = _expected(message)
    if match := Wording.NO_FILE.find(message):
        return f"{path} {match[1]}: there is no such file{_nearest_part(match[1])}"
    if expected and not (path.endswith(".logger") and given.isidentifier()):  # true and false are no guess at a class
        return f"{path} should be {' or '.join(expected)}, but it is {given!r}{_of_list(path, given)}"
    if match := Wording.NO_DOTTED_PATH.find(message) or Wording.NO_IMPORT_PATH.find(message):
        if unusable := _of_declared(path, match[1]):
            return unusable
        parts = [part.partition("/")[2] for part in packaged() if part.startswith(f"{path.lstrip('-')}/")]
        listed = our_class_names(path) if not path.endswith(".logger") else _LOGGERS
        return no_class(path, match[1], class_names(path), parts, listed)
    if match := Wording.NO_CLASS.find(message):
        return f"{path}: {given} is no {match[1]}"
    return None


def _of_list(path: str, given: str) -> str:
    """Which options take a list, where one was given to an option of the model that takes none."""
    if not (path.startswith("--model.") and given.startswith("[")):
        return ""
    return f"; a number for each instance can be given to {', '.join(PER_INSTANCE[:-1])} and {PER_INSTANCE[-1]}"


def _of_declared(path: str, name: str) -> str | None:
    """About a variant that an installed package declares, but that is not to be had."""
    declared = next((each for each in declared_variants() if each.name == name), None)
    if path != "--model" or declared is None:
        return None
    if safe_mode.is_on():
        return refusal(declared.class_path, path)
    return f"{path}: {fault}" if (fault := faults().get(name)) else None


def _expected(message: str) -> list[str]:
    """Kinds of value that would have done, in words."""
    literals = Wording.LITERAL.find_all(message)
    expected = ["one of " + literal.replace("'", "") for literal in literals]
    expected += [f"a list of {count} values" for count in Wording.TUPLE.find_all(message)]
    kinds = Wording.KIND.find_all(message)
    if Wording.NO_DOTTED_PATH.find(message):  # a class or a list of classes, not a plain list
        kinds = [kind for kind in kinds if kind not in ("list", "dict")]
    names = _KINDS | ({"dict": "a schedule with start and end"} if Wording.SCHEDULE.find(message) else {})
    return expected + [names[kind] for kind in dict.fromkeys(kinds) if kind in names]


def _path(message: str) -> str:
    """The option that a message is about, as the command line spells it."""
    keys = Wording.KEY.find_all(message)
    if nested := Wording.NESTED_KEY.find_all(message):
        return f"--{keys[0]}.{nested[-1]}"  # the last is the outermost, and holds the others
    return "--" + ".".join(keys)


def _given(message: str) -> str:
    given = Wording.GIVEN.find_all(message)
    return given[0] if given else "not so"


def _given_object(message: str) -> Any:
    """The value that a message complains of, where it is plain; else None."""
    try:
        return ast.literal_eval(_given(message))
    except (ValueError, SyntaxError):
        return None


def _find(content: Any, name: str, path: str) -> str | None:
    """Where in a value read from YAML the option `name` stands: the path of what holds it."""
    if isinstance(content, list):
        return next((found for item in content if (found := _find(item, name, path))), None)
    if not isinstance(content, dict):
        return None
    if name in content:
        return path
    inner = ((path if key == "init_args" else f"{path}.{key}", value) for key, value in content.items())
    return next((found for where, value in inner if (found := _find(value, name, where))), None)


def _nearest_part(name: str) -> str:
    """A hint for a part that a config names but that does not lie beside it."""
    parts = {f"{part}.yaml": path for part, path in packaged().items() if "/" in part}
    if name in parts:
        return f" beside the config that names it; the packaged one is {parts[name]}"
    return guess(name, parts)


def _one_of(path: str) -> str:
    return one_of(our_class_names(path), path)
