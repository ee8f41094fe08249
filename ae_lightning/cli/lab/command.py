"""`ae-lightning lab`: dictionaries trained on a known world, held against its truth, with a leaderboard and a page."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ae_lightning.cli.command_line import CommandLine
from ae_lightning.cli.command_parser import CommandParser
from ae_lightning.cli.lab.names import model_names, require_model, require_world
from ae_lightning.cli.lab.numbers import l0s_of
from ae_lightning.cli.lab.options import refuse_options
from ae_lightning.cli.numbers import whole_of
from ae_lightning.cli.sweep.grid import parse_seeds
from ae_lightning.errors import ConfigError

if TYPE_CHECKING:
    from ae_lightning.cli.lab.plan import Lab

DESCRIPTION = """\
Train dictionaries on samples of a known world, and measure how much of its truth each recovers.

  ae-lightning lab --world world_small --models topk_sae,matryoshka_sae,standard_sae --seeds 0,1,2 --jobs 2

Each model is a fit for each seed, which draws the world, the start of weights and the order of samples anew. The L0s of
a model are instances of one population: k of the TopK family, target_l0 of the others. By default there are as many
latents as the world has features, and L0 is the world's. Beside them stand an oracle that knows the truth, PCA, random
rows, k-means and scikit-learn's dictionary learning, with codes by orthogonal matching pursuit at the same L0.

Every other option is one of fit's and goes to every fit. Results are in one folder, lightning_logs/<world>_lab/ or the
one named with -o:

  model=topk_sae,seed=0/version_0/  a run's folder as fit writes it, with its truth.json; beside it fit.log
  baselines,seed=0/                 the same numbers of the baselines
  leaderboard.csv, .json, .html     a row for each model and L0: means over seeds and their 95 % intervals, and which
                                    differences are outside noise (paired by seed, corrected for their number by Holm)
  lab.html                          the leaderboard with figures: what is recovered, what is missed, and how it fails
  hedging/                          with --hedging-rate: the fits that it takes, two for each of the others
  sweep.csv, sweep.yaml             the status of each fit, and their settings

The same command again goes on where it was stopped; with more models or seeds it adds those. Exit code: 0 when all
is measured, 1 when a fit failed (the others are measured), 2 for a mistake, 130 after Ctrl-C.
"""
SAMPLES = 100_000
STEPS = 1500


def main(arguments: list[str]) -> int:
    """Run a lab; 0 when all its fits are measured, 1 when some failed, 130 after Ctrl-C."""
    ours, options = _parser().parse_known_args(arguments)
    jobs = whole_of("--jobs", ours.jobs) or 1
    samples, more = whole_of("--samples", ours.samples), whole_of("--hedging-rate", ours.hedging_rate)
    lab = asked_for(ours, options)

    from ae_lightning.cli.lab.work import work

    return work(lab, ours.output or lab.default_folder, jobs, samples or SAMPLES, more)


def asked_for(ours: argparse.Namespace, options: Sequence[str]) -> "Lab":
    """The lab that arguments ask for.

    Args:
        ours: Options of a lab, as its parser gives them.
        options: Others, of fit.

    Raises:
        ConfigError: They make no sense.
    """
    for option in ("world", "models"):
        if getattr(ours, option) is None:
            raise ConfigError(f"--{option} must be given (`ae-lightning lab --help` tells more)")
    names, seeds, l0s = model_names(ours.models), parse_seeds(ours.seeds), l0s_of(ours.l0)
    steps, latents = whole_of("--steps", ours.steps), whole_of("--latent-dim", ours.latent_dim)
    refuse_options(CommandLine(options))
    world = require_world(ours.world)
    for name in names:
        require_model(name)

    # From here on torch is needed, which takes seconds to import.
    from ae_lightning.cli.lab.plan import Lab

    try:
        return Lab(world, names, l0s, seeds, steps or STEPS, latents, options)
    except ConfigError as error:
        raise ConfigError(_with_our_options(str(error))) from error


def _with_our_options(message: str) -> str:
    """What fit says of an option that there is not, with the one of a lab's that was perhaps meant."""
    found = re.match(r"there is no option (--[\w-]+)(?=;|$)", message)
    hint = _parser().nearest(found[1]) if found else ""
    return f"there is no option {found[1]}{hint}" if found and hint else message


def _parser() -> CommandParser:
    parser = CommandParser(
        "lab",
        usage="ae-lightning lab --world NAME --models A,B [--l0 8,16] [--seeds 0,1,2] [--steps N] [--latent-dim F] "
        "[--jobs N] [-o DIR] [options of fit]",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--world", metavar="NAME", help="a packaged world, a YAML of yours, or a saved world's folder")
    parser.add_argument("--models", metavar="A,B,…", help="packaged models, YAMLs of yours, or classes")
    parser.add_argument("--l0", metavar="8,16,…", help="active latents of a sample (default: those of the world)")
    parser.add_argument("--seeds", default="0,1,2,3,4", metavar="0,1,…", help="seeds (default: 0,1,2,3,4)")
    parser.add_argument("--steps", metavar="N", help=f"optimizer steps of a fit (default: {STEPS:,})")
    parser.add_argument("--latent-dim", metavar="F", help="latents of a dictionary (default: the world's features)")
    parser.add_argument("--samples", metavar="N", help=f"fresh samples to measure on (default: {SAMPLES:,})")
    parser.add_argument(
        "--hedging-rate",
        metavar="M",
        help="train each dictionary on, with M more latents and without, and measure how much of its rows these take",
    )
    parser.add_argument("--jobs", metavar="N", help="fits at a time, which share the cores (default: 1)")
    parser.add_argument("-o", "--output", type=Path, metavar="DIR", help="the lab's folder")
    return parser
