"""What every trainer of the command line gets: no advertisements, a short bar, and checkpoints written in one piece."""

import logging
import os
import threading
import warnings
from pathlib import Path
from typing import Any

import lightning.pytorch  # noqa: F401 - sets the format of warnings when imported, before it is kept below
import torch
from lightning.fabric.plugins import CheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.plugins.io import TorchCheckpointIO
from lightning.pytorch.utilities.rank_zero import rank_zero_only
from rich.progress import BarColumn

from ae_lightning.errors import Notice
from ae_lightning.models.checkpoint import write_checkpoint
from ae_lightning.numerals import numeral
from ae_lightning.printable import printable

_format_warning = warnings.formatwarning  # Lightning's, which names the file that the warning came from


def quiet_lightning() -> None:
    """Silence Lightning's advertisements and its advice on loaders that are not ours; show notices as sentences."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # What the search for a rate found, or that it found none, is told when the fit ends.
    logging.getLogger("lightning.pytorch.tuner.lr_finder").setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore", message=".*LeafSpec.*")
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*LightningCLI's args parameter.*")
    warnings.filterwarnings("ignore", message=".*smaller than the logging interval.*")
    warnings.filterwarnings("ignore", message=".*exists and is not empty.*")
    warnings.filterwarnings("ignore", message=".*The dirpath has changed from.*")
    warnings.filterwarnings("ignore", message=".*Couldn't infer the batch indices.*")
    warnings.filterwarnings("ignore", message=r"\s*Unable to serialize instance")  # see `with_texts`
    warnings.filterwarnings("ignore", message=".*callbacks used to create the checkpoint.*")
    warnings.formatwarning = _plain_notice
    threading.excepthook = _quiet_writer


def _plain_notice(message: Warning | str, category: type[Warning], *where: Any, **line: Any) -> str:
    if issubclass(category, Notice):
        is_first = getattr(rank_zero_only, "rank", 0) == 0  # of several, all have met it
        return f"ae-lightning: {printable(str(message))}\n" if is_first else ""
    return _format_warning(message, category, *where, **line)


def _quiet_writer(failed: threading.ExceptHookArgs) -> None:
    """Show what ends a thread, but for TensorBoard's writer: what it met is raised where one writes to it next."""
    if type(failed.thread).__name__ != "_AsyncWriterThread":
        threading.__excepthook__(failed)


# Batches between two updates: drawing the bar costs more than a small model's step.
REFRESH_RATE = 20
BAR_WIDTH = 10


class LossProgressBar(RichProgressBar):
    """Lightning's bar, short enough that the losses beside it fit into 80 columns."""

    def __init__(self) -> None:
        super().__init__(refresh_rate=REFRESH_RATE)

    def configure_columns(self, trainer: Trainer) -> list[Any]:
        """Shorten the bar itself."""
        columns = super().configure_columns(trainer)
        for column in columns:
            if isinstance(column, BarColumn):
                column.bar_width = BAR_WIDTH
        return columns

    def get_metrics(self, trainer: Trainer, pl_module: LightningModule) -> dict[str, Any]:
        """The losses as short as they can be read, without the version number: the run's folder was named before."""
        metrics = super().get_metrics(trainer, pl_module)
        return {
            name: numeral(value, ".4f") if isinstance(value, float) else value
            for name, value in metrics.items()
            if name != "v_num"
        }


def shorten_device_check() -> None:
    """Make the question for a GPU, which optimizers ask at every step, cheap where there is none.

    Lightning lets PyTorch ask the driver's management library, so that processes can still be forked afterwards; where
    that library is missing it is looked for on the disk at each step, a tenth of a small model's step. The plain
    question remembers its answer, and without a GPU there is nothing that forking could harm.
    """
    if not torch.cuda.is_available():
        os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "0"


def shorten_steps(trainer: Trainer) -> None:
    """Give a trainer the loop with shorter steps; Lightning's own stays where ours does not fit to what is installed.

    It uses the inside of Lightning and PyTorch, where a new release may rename what it imports.
    """
    try:
        from ae_lightning.lean_loop import use_lean_loop
    except ImportError as error:
        logging.getLogger(__name__).debug("training goes by Lightning's own loop: %s", error)
    else:
        use_lean_loop(trainer)


class CheckpointFiles(TorchCheckpointIO):
    """Checkpoints that are written beside their place and renamed, so that a killed run leaves whole ones only.

    Lightning writes to the system's temporary folder and moves the file, which is a copy where that folder is on
    another disk: what is killed then has half a checkpoint in place of the last whole one.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Write a checkpoint; addresses such as `s3://…` are Lightning's business."""
        if "://" in str(path) or storage_options is not None:
            super().save_checkpoint(checkpoint, path, storage_options)
            return
        write_checkpoint(checkpoint, Path(path))


def with_checkpoint_files(plugins: Any) -> list[Any]:
    """The trainer's plugins with ours, unless there is one for checkpoints already."""
    given = [] if plugins is None else list(plugins) if isinstance(plugins, list | tuple) else [plugins]
    return given if any(isinstance(plugin, CheckpointIO) for plugin in given) else [*given, CheckpointFiles()]
