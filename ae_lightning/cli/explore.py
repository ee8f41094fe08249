"""`ae-lightning explore`: a trained network as HTML in which it can be looked at unit by unit, latent by latent."""

import argparse
import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ae_lightning.cli.run_command import RunParser, open_readable_run, opened_by
from ae_lightning.errors import ConfigError
from ae_lightning.printable import printable

if TYPE_CHECKING:
    from ae_lightning.data.activations import ActivationsDataModule
    from ae_lightning.run.readable import ReadableRun

_MEGABYTE = 1_000_000
_MUCH = 25
_IN_RUN = Path("RUN/explorer.json")
_SNAPSHOTS, _SAMPLES, _ROWS = 10, 2000, 1_000_000
_OF_NETWORKS = ("snapshots", "samples", "json")
_EXAMPLE = """example:
  ae-lightning explore lightning_logs/overcomplete_mnist/version_0 --snapshots 20

The page needs nothing beside itself: open it in a browser, or send it to somebody. The run may still be training.
"""


def main(arguments: list[str]) -> int:
    """Write the page, and say where it is and how large."""
    options = _parser().options(arguments)

    from ae_lightning.data.activations import ActivationsDataModule

    run, checkpoint = open_readable_run(options.run)
    if isinstance(run.data, ActivationsDataModule):
        return _explore_latents(run, run.data, checkpoint, options)
    return _explore_network(run, checkpoint, options)


def _explore_network(run: "ReadableRun", checkpoint: Path, options: argparse.Namespace) -> int:
    """Write the page of a network, which computes the network itself."""
    from ae_lightning.explorer.export import export
    from ae_lightning.explorer.manifest import MOST_SAMPLES
    from ae_lightning.files import write_text

    if options.rows is not None:
        raise ConfigError(f"--rows is for dictionaries of a store's activations, and {run.folder} is of other data")
    snapshots, samples = options.snapshots or _SNAPSHOTS, options.samples or _SAMPLES
    if samples > MOST_SAMPLES:
        raise ConfigError(f"--samples is {samples:,}; it must be at most {MOST_SAMPLES:,}")
    path = _file(options.output, run.folder)
    if damaged := run.snapshots.damaged:
        _say(f"snapshots that are missing or damaged are left out: {', '.join(damaged)}")
    data = run.folder / "explorer.json" if options.json is _IN_RUN else options.json
    if data is not None and (data.is_dir() or data.absolute() == path.absolute()):
        raise ConfigError(f"--json {data} is {'a folder' if data.is_dir() else 'the page'}; name a file of its own")
    page = export(run, checkpoint, snapshots, samples, options.instance, _say, data)
    write_text(path, page)
    size = len(page.encode()) / _MEGABYTE
    print(f"explorer: {path} ({size:.1f} MB)", opened_by(path), sep="\n")
    if data is not None:
        print(f"data: {data} ({data.stat().st_size / _MEGABYTE:.1f} MB)")
    if size > _MUCH:
        _say(f"warning: {size:.1f} MB is much for a page: fewer --snapshots or --samples make it smaller")
    return 0


def _explore_latents(
    run: "ReadableRun", data: "ActivationsDataModule", checkpoint: Path, options: argparse.Namespace
) -> int:
    """Write the page of a dictionary of activations, or of a large one a folder of pages."""
    from ae_lightning.explorer.latents.export import export_latents
    from ae_lightning.explorer.latents.pages import INDEX, needs_folder
    from ae_lightning.files import write_text
    from ae_lightning.models.checkpoint import load_autoencoder

    if given := next((name for name in _OF_NETWORKS if getattr(options, name) is not None), None):
        raise ConfigError(
            f"--{given} is for pages that compute a network, and that of {run.folder}, whose data are activations, "
            "shows latents: leave it out"
        )
    latents = load_autoencoder(checkpoint).latent_size
    in_folder = needs_folder(latents, data.index.data.get("kind"))
    if in_folder:
        folder = options.output or run.folder / "explorer"
        if folder.is_file() or folder.suffix == ".html":
            raise ConfigError(f"-o {folder}: {latents:,} latents take a folder of pages; name a folder")
        path = folder / INDEX
    else:
        path = _file(options.output, run.folder)
        folder = path.parent
    size, count = 0, 0
    with _telling() as tell:
        pages = export_latents(run, checkpoint, options.rows or _ROWS, in_folder, options.instance, _say, tell)
    for name, text in pages:
        write_text(path if name == INDEX else folder / name, text)
        size, count = size + len(text.encode()), count + 1
    several = f"{count} pages, " if in_folder else ""
    print(f"explorer: {folder if in_folder else path} ({several}{size / _MEGABYTE:.1f} MB)", opened_by(path), sep="\n")
    return 0


def _file(output: Path | None, run: Path) -> Path:
    """The page's file."""
    path = output or run / "explorer.html"
    if path.is_dir():
        raise ConfigError(f"-o {path} is a folder; name the file to write, such as {path / 'explorer.html'}")
    return path


@contextlib.contextmanager
def _telling() -> Iterator[Callable[[int, int], None]]:
    """Show on a terminal how far it is; yields what is to be called with the rows done and all rows."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (TextColumn("rows"), BarColumn(20), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("rows", total=None)
        yield lambda done, of: bar.update(task, completed=done, total=of)


def _parser() -> RunParser:
    parser = RunParser(
        "explore",
        "Turn a run into one HTML page in which its network can be explored: what each unit reads and\n"
        "writes, what it does for an input you draw, and how it came about. The page computes the network itself.\n"
        "Of a dictionary of activations from a store the page shows each latent with the samples that excite it most.",
        _EXAMPLE,
    )
    parser.add_argument(
        "-o",
        "--output",
        type=Path,
        metavar="FILE",
        help="the page (default: RUN/explorer.html), or of more than 4,096 latents, or 1,024 on images, the folder of "
        "pages (default: RUN/explorer)",
    )
    parser.add_number(
        "--snapshots",
        least=1,
        metavar="N",
        help=f"moments of the training at most, the checkpoint among them (default: {_SNAPSHOTS})",
    )
    parser.add_number(
        "--samples", least=1, metavar="N", help=f"test samples at most that the page holds (default: {_SAMPLES})"
    )
    parser.add_number(
        "--instance", least=0, default=0, metavar="K", help="which one of a population, counted from 0 (default: 0)"
    )
    parser.add_number(
        "--rows",
        least=1,
        metavar="N",
        help=f"rows at most of a store of activations that the latents are looked at on (default: {_ROWS:,})",
    )
    parser.add_argument(
        "--json",
        type=Path,
        nargs="?",
        const=_IN_RUN,
        metavar="FILE",
        help="write what the page knows as JSON too, for pages of others (default: RUN/explorer.json); on MNIST with "
        "1,024 units some 17 MB for each snapshot",
    )
    return parser


def _say(sentence: str) -> None:
    print(printable(sentence), file=sys.stderr)
