"""`ae-lightning explore`: a trained network as one HTML page in which it can be looked at unit by unit."""

import sys
from pathlib import Path

from ae_lightning.cli.run_command import RunParser, open_readable_run, opened_by
from ae_lightning.errors import ConfigError
from ae_lightning.printable import printable

_MEGABYTE = 1_000_000
_MUCH = 25
_IN_RUN = Path("RUN/explorer.json")
_EXAMPLE = """example:
  ae-lightning explore lightning_logs/overcomplete_mnist/version_0 --snapshots 20

The page needs nothing beside itself: open it in a browser, or send it to somebody. The run may still be training.
"""


def main(arguments: list[str]) -> int:
    """Write the page, and say where it is and how large."""
    options = _parser().options(arguments)

    from ae_lightning.explorer.export import export
    from ae_lightning.explorer.manifest import MOST_SAMPLES
    from ae_lightning.files import write_text

    if options.samples > MOST_SAMPLES:
        raise ConfigError(f"--samples is {options.samples:,}; it must be at most {MOST_SAMPLES:,}")
    run, checkpoint = open_readable_run(options.run)
    path = options.output or run.folder / "explorer.html"
    if path.is_dir():
        raise ConfigError(f"-o {path} is a folder; name the file to write, such as {path / 'explorer.html'}")
    if damaged := run.snapshots.damaged:
        _say(f"snapshots that are missing or damaged are left out: {', '.join(damaged)}")
    data = run.folder / "explorer.json" if options.json is _IN_RUN else options.json
    if data is not None and (data.is_dir() or data.absolute() == path.absolute()):
        raise ConfigError(f"--json {data} is {'a folder' if data.is_dir() else 'the page'}; name a file of its own")
    page = export(run, checkpoint, options.snapshots, options.samples, options.instance, _say, data)
    write_text(path, page)
    size = len(page.encode()) / _MEGABYTE
    print(f"explorer: {path} ({size:.1f} MB)", opened_by(path), sep="\n")
    if data is not None:
        print(f"data: {data} ({data.stat().st_size / _MEGABYTE:.1f} MB)")
    if size > _MUCH:
        _say(f"warning: {size:.1f} MB is much for a page: fewer --snapshots or --samples make it smaller")
    return 0


def _parser() -> RunParser:
    parser = RunParser(
        "explore",
        "Turn a run into one HTML page in which its network can be explored: what each unit reads and\n"
        "writes, what it does for an input you draw, and how it came about. The page computes the network itself.",
        _EXAMPLE,
    )
    parser.add_argument("-o", "--output", type=Path, metavar="FILE", help="the page (default: RUN/explorer.html)")
    parser.add_number(
        "--snapshots",
        least=1,
        default=10,
        metavar="N",
        help="moments of the training at most, the checkpoint among them (default: 10)",
    )
    parser.add_number(
        "--samples",
        least=1,
        default=2000,
        metavar="N",
        help="test samples at most that the page holds (default: 2000)",
    )
    parser.add_number(
        "--instance", least=0, default=0, metavar="K", help="which one of a population, counted from 0 (default: 0)"
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
