"""What was perhaps meant by a name that there is not."""

import difflib
from collections.abc import Iterable


def guess(name: str, known: Iterable[str]) -> str:
    """A hint at the nearest known name, as the end of a sentence; empty where none is near.

    Of options that end alike, such as --model.lr and --model.optimizer.lr, that one is meant.
    """
    others = [other for other in known if other != name]  # another class may have an option of that name
    is_option = name.startswith("--") and "." in name
    same = [other for other in others if is_option and other.rpartition(".")[2] == name.rpartition(".")[2]]
    close = same or difflib.get_close_matches(name, others, n=1, cutoff=0.6)
    return f"; did you mean {close[0]}?" if close else ""


def no_option(name: str, known: Iterable[str], classes: Iterable[str] = ()) -> str:
    """The sentence about an option that there is not.

    Args:
        name: The option, such as --data.train.
        known: Options that there are.
        classes: Short names of the classes that would have it, if one of them were named.
    """
    owner, _, argument = name.rpartition(".")
    *others, last = sorted(classes) or [""]
    if last and len(others) < 4:
        which = f"{', '.join(others)} or {last}" if others else last
        return f"there is no option {name} here: {argument} belongs to {owner} {which}"
    return f"there is no option {name}{guess(name, known)}"


def no_class(option: str, name: str, classes: Iterable[str], parts: Iterable[str], ours: Iterable[str]) -> str:
    """The sentence about a class that there is not.

    Args:
        option: Where it was named, such as --model.
        name: What was named.
        classes: Short names of the classes that could be named there.
        parts: Names of the packaged parts that could.
        ours: Those of the classes that are listed where no name is near.
    """
    parts = list(parts)
    hint = guess(name, [*classes, *parts]) or one_of(ours, option)
    return f"{option}: there is no class {name}{' and no packaged part of that name' if parts else ''}{hint}"


def one_of(names: Iterable[str], option: str = "") -> str:
    """All names there are, as the end of a sentence.

    Args:
        names: They are; there may be none.
        option: One whose help lists them where they are too many to read.
    """
    names = list(names)
    if len(names) > 20:
        return f"; `{option}.help` lists what there is" if option else ""
    return f"; there are {', '.join(names)}" if names else ""


def no_command(name: str, known: Iterable[str]) -> str:
    """The sentence about a command that there is not, or about none."""
    known = list(known)
    if not name:
        return f"name a command, one of {', '.join(known)}; `ae-lightning --help` tells more"
    return f"there is no command {name}" + (guess(name, known) or f"; there are {', '.join(known)}")
