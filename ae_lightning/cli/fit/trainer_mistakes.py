"""What Lightning's trainer, its loggers and its callbacks refuse by an error of their own, as a sentence."""

import inspect
from collections.abc import Iterator
from types import FrameType
from typing import Any

from jsonargparse import Namespace
from lightning.pytorch import Callback, Trainer

from ae_lightning.errors import ConfigError, UserError

_CONNECTOR = "accelerator_connector"
_OF_HARDWARE = ("accelerator", "devices", "strategy", "num_nodes", "precision", "plugins", "sync_batchnorm")


def refused_by_trainer(error: Exception, config: Namespace) -> ConfigError:
    """The error of a trainer that could not be built, with the options that it is about.

    Args:
        error: What `Trainer` raised.
        config: The trainer's settings.
    """
    if not any(_CONNECTOR in frame.f_code.co_filename for frame in _frames(error)):
        return ConfigError(f"the trainer does not take its options: {_in_one_line(error)}")
    defaults = inspect.signature(Trainer).parameters
    given = [
        f"--trainer.{name} {config[name]}"
        for name in _OF_HARDWARE
        if config.get(name) not in (None, defaults[name].default)
    ]
    options = f" with {', '.join(given)}" if given else ""
    return ConfigError(f"there can be no trainer{options}: {_in_one_line(error)}")


def missing_package(error: BaseException) -> ConfigError | None:
    """The error of a class, such as a logger, that needs a package which is not installed; None for all else."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, ImportError):
        cause = cause.__cause__ or cause.__context__
    if cause is None:
        return None
    makers = [frame.f_locals.get("self") for frame in _frames(cause) if frame.f_code.co_name == "__init__"]
    named = f"{type(makers[-1]).__name__}: " if makers and makers[-1] is not None else ""
    return ConfigError(f"{named}a package that it needs is not installed ({_in_one_line(cause)})")


def refused_by_callback(error: Exception) -> ConfigError | None:
    """The error of one of Lightning's own callbacks that does not fit what is trained; None for all else.

    An error that came out of this package, and so perhaps only passed through the callback, keeps its traceback.
    """
    if isinstance(error, UserError):
        return None
    blamed: Callback | None = None
    for frame in _frames(error):
        owner = frame.f_locals.get("self")
        if isinstance(owner, Callback) and type(owner).__module__.startswith("lightning."):
            blamed = owner
        elif frame.f_globals.get("__name__", "").startswith("ae_lightning."):
            blamed = None
    if blamed is None:
        return None
    name = type(blamed).__name__
    if isinstance(error, NotImplementedError):
        return ConfigError(f"{name} is only the base of other callbacks: name one of those in trainer.callbacks")
    return ConfigError(f"{name} cannot be used here ({_in_one_line(error)}): take it out of trainer.callbacks")


def _frames(error: BaseException) -> Iterator[FrameType]:
    """The frames that an error went through, the innermost last."""
    trace: Any = error.__traceback__
    while trace is not None:
        yield trace.tb_frame
        trace = trace.tb_next


def _in_one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__
