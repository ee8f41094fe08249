"""Which releases of other packages this one was tested with, and what is left of it beside any other.

Nothing refuses a newer release. What builds on the inside of a package asks here first, so that a release in which that
inside has moved costs speed or a nicety: the training loop is Lightning's own, a parser's message comes as it is.
"""

import re
from argparse import ArgumentParser
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any, NamedTuple


class Tested(NamedTuple):
    """The releases of a package that the tests ran with: from the first, to the last of a series."""

    first: str
    series: str


TESTED = {
    "lightning": Tested("2.6.4", "2.6"),
    "torch": Tested("2.6.0", "2.15"),
    "jsonargparse": Tested("4.52.0", "4.53"),
}
"""Packages of which more is used than what they promise to keep. `constraints.txt` and `constraints-oldest.txt` list
the releases themselves."""


def is_tested(package: str) -> bool:
    """Tell whether the installed release of a package is one that this one was tested with, or of the same series.

    Args:
        package: A name of `TESTED`. The package itself is not imported.
    """
    first, series = map(_numbers, TESTED[package])
    installed = _installed(package)
    return first <= installed and installed[: len(series)] <= series


def private(owner: object, name: str, default: Any) -> Any:
    """A private attribute of what another package made; `default` in a release that has no such attribute.

    A test sees to it that those attributes are asked for nowhere but here, and in `lean_loop`, which is only used with
    releases that were tested.
    """
    return getattr(owner, name, default)


def option_names(parser: ArgumentParser) -> list[str]:
    """All options of a parser, such as `--model`, for guesses at a misspelt one; none where it does not list them."""
    return [name for action in private(parser, "_actions", ()) for name in action.option_strings]


@cache
def _installed(package: str) -> tuple[int, ...]:
    try:
        return _numbers(version(package))
    except PackageNotFoundError:  # it came here by another way, and tells of no release
        return ()


def _numbers(release: str) -> tuple[int, ...]:
    """The release's numbers without what follows them: 2.15.0+cu130 and 2.15.0rc1 are (2, 15, 0)."""
    leading = re.match(r"\d+(\.\d+)*", release)
    return tuple(map(int, leading[0].split("."))) if leading else ()
