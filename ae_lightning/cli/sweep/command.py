"""`ae-lightning sweep`: many fits that differ in a few settings and seeds, and one table and figure of them all."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ae_lightning.cli.command_line import CommandLine
from ae_lightning.cli.command_parser import CommandParser, unknown_of
from ae_lightning.cli.configs import resolve_names
from ae_lightning.cli.numbers import whole_of
from ae_lightning.cli.sweep.grid import parse_grid, parse_seeds, refuse_options, short_names
from ae_lightning.errors import ConfigError

if TYPE_CHECKING:
    from ae_lightning.cli.sweep.settings import Resolved

DESCRIPTION = """\
Train every combination of some settings and seeds, each by a fit of its own, and compare their test errors with each
other, the mean image and PCA of the same width.

  ae-lightning sweep --config overcomplete_digits --grid model.latent_dim=2,16,32,128 --seeds 0,1,2 --jobs 2

Keys of the grid are spelled as options of fit, and further --grid options make it a product. Commas inside brackets or
quotes belong to a value (--grid 'model.hidden_dims=[128],[512,256],[]'); parts go by their names (--grid
model=overcomplete,fully_connected). Every other option is one of fit's and goes to every run.

What fit's parser would refuse is told before the first run starts. Results are in one folder,
lightning_logs/<config>_sweep_<keys>/ or the one named with -o:

  latent_dim=16,seed=0/version_0/   a run's folder as fit writes it, and beside it what it printed, fit.log
  sweep.csv                         a row for each run (of a population for each instance), rewritten whenever one
                                    ends; its status is finished, failed, interrupted, or trained: by fit, but its
                                    numbers could not be measured
  sweep.png                         test error over the first key, PCA and mean image, training time, parameters
  frontier.png                      of sparse codes: variance unexplained over L0, a line for each architecture
  sweep.yaml                        the settings that all runs share

Ctrl-C lets the runs save and stop. The same command again keeps what is finished, goes on with what was interrupted
and runs the rest; with more values or seeds it adds those. With other settings it refuses, so that a folder never
holds runs that cannot be compared. What is trained is measured, not trained again. Exit code: 0 when all runs are
finished, 1 when one failed or could not be measured (the others go on), 2 for a mistake, 130 after Ctrl-C.
"""


def main(arguments: list[str]) -> int:
    """Run a sweep; 0 when all its runs are finished, 1 when some failed, 130 after Ctrl-C."""
    parser = _parser()
    ours, options = parser.parse_known_args(_joined(arguments))
    grid, seeds = parse_grid(ours.grid), [] if ours.seeds is None else parse_seeds(ours.seeds)
    jobs = whole_of("--jobs", ours.jobs) or 1
    if not grid and not seeds:
        raise ConfigError(
            unknown_of(parser, options) or "a sweep needs something to vary: --grid key=a,b or --seeds 0,1,2"
        )
    refuse_options(options, bool(seeds))
    options = resolve_names(CommandLine(options)).arguments

    # From here on torch is needed, which takes seconds to import.
    from ae_lightning.cli.sweep.results import TAKEN
    from ae_lightning.cli.sweep.runs import only_sweep_in
    from ae_lightning.cli.sweep.session import Session
    from ae_lightning.cli.sweep.settings import make_record, plan, resolve, write_record

    resolved = resolve(options, grid, seeds)
    names = short_names(list(grid), TAKEN)
    folder = ours.output or _default_folder(options, list(names.values()), resolved)
    runs = plan(resolved, names, options, seeds)
    record = make_record(folder, resolved, names, runs)
    with only_sweep_in(folder) as lock:
        write_record(folder, record)
        return Session(folder, list(names.values()), record["runs"]).run(runs, jobs, lock)


def _joined(arguments: Sequence[str]) -> list[str]:
    """Arguments with `--grid --model.x=1` as one, which argparse would take for two options."""
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1] == "--grid":
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def _parser() -> CommandParser:
    parser = CommandParser(
        "sweep",
        usage="ae-lightning sweep --config NAME --grid KEY=A,B [--grid …] [--seeds 0,1] [--jobs N] [-o DIR] [options "
        "of fit]",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--grid", action="append", default=[], metavar="KEY=A,B,…", help="a setting and its values")
    parser.add_argument("--seeds", metavar="0,1,…", help="seeds of every point; by default the config's own")
    parser.add_argument("--jobs", metavar="N", help="runs at a time, which share the cores (default: 1)")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="the sweep's folder")
    return parser


def _default_folder(options: Sequence[str], names: Sequence[str], resolved: "Resolved") -> Path:
    from ae_lightning.run.place import ROOT_NAME

    root = Path(resolved.settings.get("trainer", {}).get("default_root_dir") or ".") / ROOT_NAME
    files = CommandLine(options).config_files
    if files:
        path = files[0].absolute()  # a run's own config.yaml says nothing, but its folder does
        stem = path.parent.parent.name if path.stem == "config" else path.stem
    else:
        stem = resolved.settings.get("model", {}).get("class_path", "").rpartition(".")[2]
    return root / "_".join(filter(None, [stem, "sweep", *(names or ["seeds"])]))
