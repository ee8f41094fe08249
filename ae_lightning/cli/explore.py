"""`ae-lightning explore`: a trained network as one HTML page in which it can be looked at unit by unit."""

import argparse
import sys
from pathlib import Path

from ae_lightning.cli.arguments import CommandParser
from ae_lightning.errors import ConfigError

_MEGABYTE = 1_000_000
_MUCH = 25
_EXAMPLE = """example:
  ae-lightning explore lightning_logs/overcomplete_mnist/version_0 --snapshots 20

The page needs nothing beside itself: open it in a browser, or send it to somebody. The run may still be training.
"""


def main(arguments: list[str]) -> int:
    """Write the page, and say where it is and how large."""
    options = _parser().parse_args(arguments)

    _check_numbers(options)
    from ae_lightning.cli.open_run import open_run
    from ae_lightning.explorer.export import export
    from ae_lightning.files import write_text
    from ae_lightning.report.readable import ReadableRun

    run, checkpoint = open_run(options.run, "name a run's folder, or a checkpoint in one")
    path = options.output or run.folder / "explorer.html"
    if path.is_dir():
        raise ConfigError(f"-o {path} is a folder; name the file to write, such as {path / 'explorer.html'}")
    readable = ReadableRun(run.folder)
    if damaged := readable.snapshots.damaged:
        _say(f"snapshots that are missing or damaged are left out: {', '.join(damaged)}")
    page = export(readable, checkpoint, options.snapshots, options.samples, options.instance, _say)
    write_text(path, page)
    size = len(page.encode()) / _MEGABYTE
    print(f"explorer: {path} ({size:.1f} MB)")
    if size > _MUCH:
        _say(f"warning: {size:.1f} MB is much for a page: fewer --snapshots or --samples make it smaller")
    return 0


def _parser() -> CommandParser:
    parser = CommandParser(
        "explore",
        description="Turn a run into one HTML page in which its network can be explored: what each unit reads and\n"
        "writes, what it does for an input you draw, and how it came about. The page computes the network itself.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path, metavar="RUN_OR_CHECKPOINT", help="a run's folder, or a checkpoint in it")
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="the page (default: RUN/explorer.html)")
    parser.add_argument(
        "--snapshots",
        type=int,
        default=10,
        metavar="N",
        help="moments of the training at most, the checkpoint among them (default: 10)",
    )
    parser.add_argument(
        "--samples",
        type=int,
        default=2000,
        metavar="N",
        help="test samples at most that the page holds (default: 2000)",
    )
    parser.add_argument(
        "--instance", type=int, default=0, metavar="K", help="which one of a population, counted from 0 (default: 0)"
    )
    return parser


def _check_numbers(options: argparse.Namespace) -> None:
    for option, value, least in (
        ("--snapshots", options.snapshots, 1),
        ("--samples", options.samples, 1),
        ("--instance", options.instance, 0),
    ):
        if value < least:
            raise ConfigError(f"{option} is {value}; it must be at least {least}")
    from ae_lightning.explorer.manifest import MOST_SAMPLES

    if options.samples > MOST_SAMPLES:
        raise ConfigError(f"--samples is {options.samples:,}; it must be at most {MOST_SAMPLES:,}")


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr)
