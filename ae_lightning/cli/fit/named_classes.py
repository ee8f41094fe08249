"""Classes that can be named at an option of `fit`, with what they take."""

import inspect

from lightning.pytorch import Callback
from lightning.pytorch.loggers import Logger
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from ae_lightning.callbacks.schedule import Schedule
from ae_lightning.cli.command_line import CommandLine
from ae_lightning.cli.fit.known_names import OWNERS, Kind
from ae_lightning.data.base import AutoencoderDataModule
from ae_lightning.models import variants
from ae_lightning.models.base import Autoencoder
from ae_lightning.nn.corruption import Corruption
from ae_lightning.nn.network import Network
from ae_lightning.safe_mode import refuse_unsafe

# What can be named where, by the last part of the option.
_BASES: dict[str, type] = {
    "model": Autoencoder,
    "data": AutoencoderDataModule,
    "callbacks": Callback,
    "logger": Logger,
    "optimizer": Optimizer,
    "lr_scheduler": LRScheduler,
    "schedule": Schedule,
    "network": Network,
    "corruption": Corruption,
}


def refuse_unsafe_options(line: CommandLine) -> None:
    """Check options that name a class by its dotted path; in safe mode the parser may tell of something else.

    Raises:
        ConfigError: The process is in safe mode, and it does not allow the class.
    """
    for name, value, _ in line.options:
        if value is None or value.endswith((".yaml", ".yml")):  # a part
            continue
        dotted = all(part.isidentifier() for part in value.split(".")) and "." in value
        if dotted and name.rpartition(".")[2].strip("-+") in _BASES:
            refuse_unsafe(value, name)


def known_classes() -> dict[str, dict[str, Kind]]:
    """The classes of ours, and of torch, that can be named at the options that most names belong to."""
    return {
        option: {
            kind.__name__: Kind(sorted(_constructor_arguments(kind)), inspect.isabstract(kind))
            for kind in _kinds(option)
            if kind.__module__.startswith(("ae_lightning.", "torch."))
        }
        for option in OWNERS
    }


def classes_for(path: str) -> list[type]:
    """The classes that can be named at an option, such as --model or --trainer.callbacks; none of other options."""
    return [kind for kind in _kinds(path) if not inspect.isabstract(kind) and not kind.__name__.startswith("_")]


def our_class_names(path: str) -> list[str]:
    """Short names of the classes of ours that can be named at an option, and of those that a package declares."""
    declared = variants().values()
    kinds = [kind for kind in classes_for(path) if kind.__module__.startswith("ae_lightning.") or kind in declared]
    return sorted({kind.__name__ for kind in kinds})


def class_names(path: str) -> list[str]:
    """Short names of all classes that can be named at an option."""
    return sorted({kind.__name__ for kind in classes_for(path)})


def classes_with(path: str, argument: str) -> list[str]:
    """Short names of the classes of ours, and of torch, that can be named at an option and take this argument."""
    kinds = [kind for kind in classes_for(path) if kind.__module__.startswith(("ae_lightning.", "torch."))]
    return [kind.__name__ for kind in kinds if argument in _constructor_arguments(kind)]


def arguments_of(path: str) -> set[str]:
    """Names of all constructor arguments of the classes that can be named at an option."""
    return {name for kind in classes_for(path) for name in _constructor_arguments(kind)}


def _constructor_arguments(kind: type) -> set[str]:
    constructors = [base for base in kind.__mro__ if "__init__" in vars(base)]
    return {name for base in constructors for name in inspect.signature(base).parameters} - {"self", "args", "kwargs"}


def _kinds(path: str) -> list[type]:
    base = _BASES.get(path.rpartition(".")[2].lstrip("-"))
    found = [base] if base else []
    for kind in found:
        found.extend(kind.__subclasses__())
    return found
