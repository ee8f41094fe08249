"""The variants: one file per family, each a subclass of `Autoencoder`.

A new file in this folder is found without being listed anywhere: `variants()` imports every module here, and so does
`from ae_lightning.models import ConvAutoencoder`.
"""

import importlib
import inspect
import pkgutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ae_lightning.models.base import Autoencoder


def variants() -> dict[str, type["Autoencoder"]]:
    """Return every concrete variant of this package by class name, in alphabetical order."""
    from ae_lightning.models.base import Autoencoder

    found: dict[str, type[Autoencoder]] = {}
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{info.name}")
        for name, member in vars(module).items():
            # Where it is from comes first: Python 3.10 takes an alias such as tuple[int, int] for a class as well.
            is_own = inspect.isclass(member) and member.__module__ == module.__name__
            if is_own and issubclass(member, Autoencoder) and not inspect.isabstract(member):
                found[name] = member
    return dict(sorted(found.items()))


def __getattr__(name: str) -> type["Autoencoder"]:
    """A variant by its class name, imported when it is first asked for (PEP 562)."""
    if name[:1].isupper() and name in (found := variants()):  # a submodule is asked for here too, before it is imported
        return found[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
