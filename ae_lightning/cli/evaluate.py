"""`ae-lightning evaluate`: a run's final numbers beside those of simple baselines."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ae_lightning.cli.command_line import apart_from_data
from ae_lightning.cli.command_parser import CommandParser
from ae_lightning.cli.evaluation_printing import print_results
from ae_lightning.cli.spliced import add_splice_options, splice_of
from ae_lightning.files import as_json
from ae_lightning.run.instances import of_instance


def main(arguments: list[str]) -> int:
    """Evaluate a run or checkpoint, print the numbers and write `metrics.json` into the run's folder."""
    parser = CommandParser(
        "evaluate",
        description="Measure a trained autoencoder on its validation and test sets, beside the mean image and PCA of "
        "the same width, and write metrics.json into the run's folder.",
    )
    parser.add_argument("run", type=Path, metavar="RUN_OR_CHECKPOINT", help="a run's folder, or a checkpoint in it")
    parser.add_argument(
        "--device",
        metavar="NAME",
        help="where to compute: cpu, cuda, cuda:1, mps (default: where it was trained, if this machine has that)",
    )
    parser.add_argument(
        "--instance",
        type=int,
        metavar="K",
        help="print the numbers of one instance of a population alone, counted from 0; metrics.json holds all",
    )
    parser.add_argument("--json", action="store_true", help="print the numbers as JSON and nothing else")
    parser.add_argument(
        "--bound-samples",
        type=int,
        metavar="N",
        help="codes drawn for each test sample in the bound on log p(x) of a variational autoencoder; 5,000 are usual, "
        "and take their time (default: 64 for each of the first 1,000)",
    )
    add_splice_options(parser)
    arguments, of_data = apart_from_data(arguments)
    options = parser.parse_args(arguments)
    results = _evaluate(options, of_data)
    if options.json:
        print(as_json(results, indent=2))
    else:
        print_results(results)
    return 0


def _evaluate(options: argparse.Namespace, of_data: Sequence[str]) -> dict[str, Any]:
    """The numbers of a run, or of one of its instances."""
    from ae_lightning.cli.run_command import open_run
    from ae_lightning.evaluation import evaluate_run
    from ae_lightning.evaluation.device import chosen_device, device_of
    from ae_lightning.models.checkpoint import load_autoencoder

    run, checkpoint = open_run(options.run, f"use `ae-lightning test --ckpt_path {options.run} --data …`")
    device = device_of(run.config) if options.device is None else chosen_device(options.device)
    if options.instance is not None:
        load_autoencoder(checkpoint, instance=options.instance)  # a mistake comes before what takes its time
    splice = splice_of(options, of_data, run, device)
    results = evaluate_run(
        run, checkpoint=checkpoint, device=device, splice=splice, bound_samples=options.bound_samples
    )
    one_of_many = options.instance is not None and "instances" in results
    return of_instance(results, options.instance) if one_of_many else results
