"""Variants that installed packages declare, read from their metadata: nothing of theirs is imported here."""

from importlib.metadata import entry_points
from typing import NamedTuple

GROUP = "ae_lightning.variants"
"""Group of entry points. Each is called as its class: `Mine = "my_package.mine:Mine"`."""


class Declared(NamedTuple):
    """A variant as a package declares it."""

    name: str  #: short name of the class
    value: str  #: where it is, `package.module:Class`
    distribution: str  #: name and version of what declares it

    @property
    def module(self) -> str:
        """Dotted path of the module that is to be imported."""
        return self.value.partition(":")[0]

    @property
    def class_path(self) -> str:
        """Dotted path of the class, as a config names it."""
        return self.value.replace(":", ".")


def declared_variants() -> list[Declared]:
    """All variants that installed packages declare, in alphabetical order."""
    found = set()
    for entry in entry_points(group=GROUP):
        distribution = f"{entry.dist.name} {entry.dist.version}" if entry.dist else "an unnamed package"
        found.add(Declared(entry.name, entry.value.replace(" ", ""), distribution))
    return sorted(found)
