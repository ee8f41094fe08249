"""What jsonargparse says in many lines, in a few words.

It has no other way to say what was wrong than its messages, whose wording may change with any release. All that is
looked for in them stands in `Wording`, and a test provokes each from the parser that is installed.
"""

import re
from enum import Enum

from ae_lightning.upstream import is_tested


class Wording(Enum):
    """Regular expressions for what a message says; what they capture is put into a sentence of ours."""

    # Options and commands.
    UNKNOWN_OPTION = r"unrecognized arguments: (--?[^\s=]+)"
    UNKNOWN_TO_COMMAND = r"Subcommand '\w+' does not accept option '([^']+)'"
    UNKNOWN_TO_CLASS = r"Option '([^']+)' is not accepted"
    UNKNOWN_TO_GROUP = r"Group '[^']+' does not accept option '([^']+)'"
    UNKNOWN_COMMAND = r"invalid choice: '([^']*)'"
    NO_COMMAND = r'expected "subcommand"'
    NO_VALUE = r"argument (--[^\s:/]+): expected (?:one|at least one|\d+) arguments?"
    MISSING = r"the following arguments are required: (.+)"
    # Where, and what stood there.
    KEY = r'Parser key "([^"]+)"'
    NESTED_KEY = r"NestedArg\(key='([^']+)'"
    GIVEN = r"(?:Got value|Given value): (?!NestedArg)(.*)"
    # Classes.
    NO_SUCH_CLASS = r"Problem with given class_path '([^']+)':\s+(.+)"
    NO_DOTTED_PATH = r"Expected a dot import path string: (.+)"
    NO_IMPORT_PATH = r"Unexpected import path format: (.+)"
    OTHER_CLASS = r"does not correspond to a subclass of (\w+)"
    NO_CLASS = r"Not a valid subclass of (\w+)"
    ABSTRACT = r"Expected an instantiatable class"
    NO_FILE = r"Expected a path but (\S+\.ya?ml) either"
    DENIED = r"Importing '([^']+)' is not allowed"
    # Values.
    LITERAL = r"Expected a typing\.Literal\[([^\]]*)\]"
    TUPLE = r"Expected a tuple with (\d+) elements"
    KIND = r"Expected a <class '(?:collections\.abc\.)?(\w+)'>"
    SCHEDULE = r"<class 'ae_lightning\.training\.coefficients\.Ramp'>"
    OTHER_KEYS = r"Unexpected keys: \{'([^']+)'"
    WRAPPED = r"Does not validate against any of the Union subtypes"

    def find(self, message: str) -> re.Match[str] | None:
        """The first place where a message says this."""
        return re.search(self.value, message)

    def find_all(self, message: str) -> list[str]:
        """What the expression captures, wherever a message says this."""
        return re.findall(self.value, message)


FRAMES = ("Does not validate", "Subtypes", "Errors:", "Parser key", "Problem with", "Expected a <class 'NoneType'>")
"""How the lines begin that stand around a reason."""


def reason_of(message: str) -> str:
    """What is wrong, out of the many lines that it is wrapped in."""
    lines = [line.strip().removeprefix("- ") for line in message.splitlines()]
    told = [line for line in lines if line and not line.startswith(FRAMES)]
    return (told or lines or ["it is not known why"])[0]


def is_wrapped(message: str) -> bool:
    """Whether a message is one of those that wrap what a class had against its arguments."""
    return bool(Wording.WRAPPED.find(message))


def denied_in(message: str) -> str | None:
    """The class that was not imported because safe mode does not allow it, if that is what a message tells of.

    None beside a release of jsonargparse that was not tested: its message then is shown as it is.
    """
    found = Wording.DENIED.find(message) if is_tested("jsonargparse") else None
    return found[1] if found else None
