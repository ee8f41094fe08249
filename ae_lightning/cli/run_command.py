"""What the commands share that make something of a run: their parser, how they open it, and how they write a figure."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ae_lightning.cli.command_parser import CommandParser
from ae_lightning.errors import ConfigError, RunFolderError

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

    from ae_lightning.run.readable import ReadableRun
    from ae_lightning.run.run import Run

Kind = TypeVar("Kind", bound="Run")

_DPI = 150
_OTHERWISE = "name a run's folder, or a checkpoint in one"


class RunParser(CommandParser):
    """Parser of a command whose first argument is a run.

    Args:
        command: Name of the command, such as report.
        description: What it does, in lines as they are to be printed.
        example: What follows the list of options, printed as it is.
    """

    def __init__(self, command: str, description: str, example: str) -> None:
        form = argparse.RawDescriptionHelpFormatter
        super().__init__(command, description=description, epilog=example, formatter_class=form)
        self.add_argument("run", type=Path, metavar="RUN_OR_CHECKPOINT", help="a run's folder, or a checkpoint in it")
        self._least: dict[argparse.Action, int] = {}

    def add_number(self, option: str, least: int, **kwargs: Any) -> None:
        """Add an option that takes a whole number.

        Args:
            option: Its name.
            least: The smallest number that makes sense.
            **kwargs: Arguments of `add_argument`.
        """
        self._least[self.add_argument(option, type=int, **kwargs)] = least

    def options(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Read the arguments.

        Raises:
            ConfigError: They make no sense, or a number is too small.
        """
        options = self.parse_args(arguments)
        for action, least in self._least.items():
            value = getattr(options, action.dest)
            if value is not None and value < least:
                raise ConfigError(f"{action.option_strings[0]} is {value}; it must be at least {least}")
        return options


def open_run(path: Path, otherwise: str = _OTHERWISE) -> "tuple[Run, Path]":
    """Open the run that `path` is, or lies in.

    Args:
        path: A run's folder, or a checkpoint in it.
        otherwise: What to do with a checkpoint that lies in no run's folder, for the message.

    Returns:
        The run and the checkpoint: the one given, or the run's best.

    Raises:
        RunFolderError: There is no such run, or the checkpoint lies in none.
        CheckpointError: The run has no checkpoint.
    """
    from ae_lightning.run.run import Run

    return _opened(Run, path, otherwise)


def open_readable_run(path: Path) -> "tuple[ReadableRun, Path]":
    """Open the run that `path` is, or lies in, as `open_run` does, without snapshots that cannot be read."""
    from ae_lightning.run.readable import ReadableRun

    return _opened(ReadableRun, path, _OTHERWISE)


def _opened(kind: type[Kind], path: Path, otherwise: str) -> tuple[Kind, Path]:
    from ae_lightning.run.place import run_of

    if path.suffix != ".ckpt":
        run = kind.load(path)
        return run, run.checkpoint
    folder = run_of(path)
    if folder is None:
        raise RunFolderError(f"{path} lies in no run's folder, so its data are not known: {otherwise}")
    return kind.load(folder), path


def opened_by(page: Path) -> str:
    """A line with the address of a page, which many terminals open at a click."""
    return f"open it: {page.absolute().as_uri()}"


def write_figure(figure: "Figure", path: Path) -> None:
    """Write a figure as PNG, beside its place and renamed."""
    from ae_lightning.files import write_bytes
    from ae_lightning.plots.raster import as_png, render

    write_bytes(path, as_png(render(figure, _DPI), _DPI))


def write_animation(frames: "Sequence[np.ndarray]", captions: Sequence[str], title: str, page: Path, gif: Path) -> None:
    """Write frames with their captions as a page that plays them, and as a GIF.

    Args:
        frames: uint8 arrays (height, width, 3), RGB, of one size.
        captions: One for each frame.
        title: Title of the page.
        page: The file of the page.
        gif: The file of the GIF, in a folder that is there.
    """
    from ae_lightning.files import replacing, write_text
    from ae_lightning.plots.animation import animation_html, write_gif

    write_text(page, animation_html(frames, captions, title))
    with replacing(gif) as temporary:
        write_gif(frames, temporary)
