"""What a user is not told: Lightning's advertisements; and what is told, without its place in the code."""

import logging
import threading
import warnings
from typing import Any

import lightning.pytorch  # noqa: F401 - sets the format of warnings when imported, before it is kept below

from ae_lightning.errors import Notice

_format_warning = warnings.formatwarning  # Lightning's, which names the file that the warning came from


def quiet_lightning() -> None:
    """Silence Lightning's advertisements and its advice on loaders that are not ours; show notices as sentences."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*LightningCLI's args parameter.*")
    warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
    warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
    warnings.filterwarnings("ignore", message=".*The dirpath has changed from.*")
    warnings.filterwarnings("ignore", message=".*Couldn't infer the batch indices.*")
    warnings.filterwarnings("ignore", message=".*callbacks used to create the checkpoint.*")
    warnings.formatwarning = _plain_notice
    threading.excepthook = _quiet_writer


def _plain_notice(message: Warning | str, category: type[Warning], *where: Any, **line: Any) -> str:
    if issubclass(category, Notice):
        return f"ae-lightning: {message}\n"
    return _format_warning(message, category, *where, **line)


def _quiet_writer(failed: threading.ExceptHookArgs) -> None:
    """Show what ends a thread, but for TensorBoard's writer: what it met is raised where one writes to it next."""
    if type(failed.thread).__name__ != "_AsyncWriterThread":
        threading.__excepthook__(failed)
