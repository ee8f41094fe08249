"""What jsonargparse says in many lines, in a few words."""

import re

_FRAME = ("Does not validate", "Subtypes", "Errors:", "Parser key", "Problem with", "Expected a <class 'NoneType'>")


def reason_of(message: str) -> str:
    """What is wrong, out of the many lines that it is wrapped in."""
    lines = [line.strip().removeprefix("- ") for line in message.splitlines()]
    told = [line for line in lines if line and not line.startswith(_FRAME)]
    return (told or lines or ["it is not known why"])[0]


def is_wrapped(message: str) -> bool:
    """Whether a message is one of those that wrap what a class had against its arguments."""
    return "Does not validate against any of the Union subtypes" in message


def denied_in(message: str) -> str | None:
    """The class that was not imported because safe mode does not allow it, if that is what a message tells of."""
    found = re.search(r"Importing '([^']+)' is not allowed", message)
    return found[1] if found else None
