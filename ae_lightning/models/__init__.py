"""The variants: one file per family, each a subclass of `Autoencoder`.

A new file in this folder is found without being listed anywhere: `variants()` imports every module here, and so does
`from ae_lightning.models import ConvAutoencoder`. Variants of other packages are found by their entry points.
"""

import importlib
import inspect
import pkgutil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ae_lightning.models.base import Autoencoder


def variants() -> dict[str, type["Autoencoder"]]:
    """Return every concrete variant by class name, in alphabetical order: those of this package and installed ones.

    An installed package declares its variants as entry points of the group `ae_lightning.variants`. In safe mode they
    are neither listed nor imported.
    """
    from ae_lightning.models.installed import installed_variants

    own = own_variants()
    return dict(sorted({**installed_variants(own.keys()).variants, **own}.items()))


def faults() -> dict[str, str]:
    """Return, by class name, a sentence for each variant that an installed package declares and that is of no use."""
    from ae_lightning.models.installed import installed_variants

    return installed_variants(own_variants().keys()).faults


def own_variants() -> dict[str, type["Autoencoder"]]:
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
    """A variant of this package by its class name, imported when it is first asked for (PEP 562)."""
    # A submodule is asked for here too, before it is imported.
    if name[:1].isupper() and name in (found := own_variants()):
        return found[name]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
