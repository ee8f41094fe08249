"""`ae-lightning evaluate --splice`: its options, and what is printed of a network with a reconstruction in it."""

import argparse
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress import Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from ae_lightning.cli.command_parser import CommandParser
from ae_lightning.cli.numbers import wholes_of
from ae_lightning.cli.tables import PlainConsole
from ae_lightning.errors import ConfigError
from ae_lightning.numerals import with_error

if TYPE_CHECKING:
    import torch

    from ae_lightning.evaluation.splice import Splice
    from ae_lightning.evaluation.splice.into import Batches
    from ae_lightning.run.run import Run

_OWN = ("data", "text", "loss", "samples", "batch_size")
_NUMBERS = ("samples", "batch_size")
_LOSSES = {
    "original": "as it is",
    "spliced": "reconstructed",
    "mean_ablated": "mean in its place",
    "zero_ablated": "zeros in its place",
    "increase": "increase",
}
_PARTS = {"recovered_of_mean": "recovered, against the mean", "recovered_of_zero": "recovered, against zeros"}


def add_splice_options(parser: CommandParser) -> None:
    """Add the options that say into which network an autoencoder is put, and what that network is run on."""
    group = parser.add_argument_group("the network whose activations the run was trained on")
    add = group.add_argument
    add(
        "--splice",
        metavar="MODEL",
        help="measure this network's loss with the reconstruction in it, beside its loss as it is, and with the mean "
        "or zeros there; named as for `ae-lightning harvest --model`",
    )
    add(
        "--data",
        metavar="CLASS_OR_PART",
        help="what it is run on: the test samples of data as fit takes them, with their options --data.… (default: the "
        "samples of the store that the run held out)",
    )
    add("--text", nargs="+", default=[], metavar="FILE", help="text files in their place, through its tokenizer")
    add(
        "--loss",
        metavar="NAME",
        help="next_token, classification, or a function of an output and a batch as MODULE:NAME (default: next_token "
        "for text, classification for all else)",
    )
    add("--samples", metavar="N", help="samples that it is run on at most (default: 1000)")
    add("--batch-size", metavar="N", help="samples that it is given at a time (default: 16)")


def splice_of(
    options: argparse.Namespace, of_data: Sequence[str], run: "Run", device: "torch.device"
) -> "Splice | None":
    """What the options ask for; None without `--splice`.

    Raises:
        ConfigError: They make no sense, or do not go with the run; see `Splice`.
        DataError: What the network is to be run on is missing or damaged.
    """
    if options.splice is None:
        given = [name for name in _OWN if getattr(options, name)] + ["data"] * bool(of_data)
        if given:
            raise ConfigError(f"--{given[0].replace('_', '-')} tells what a network is run on; name it with --splice")
        return None
    if of_data and options.text:
        raise ConfigError("--data and --text are two things to run a network on; name one of them")
    numbers = wholes_of(options, _NUMBERS)

    from ae_lightning.cli.harvest.shown_by_options import data_settings
    from ae_lightning.evaluation.splice import Splice

    return Splice(
        run.data,
        options.splice,
        data_settings(of_data, None),
        options.text,
        options.loss,
        device=device,
        watch=_watched,
        **numbers,
    )


def _watched(batches: "Batches") -> "Batches":
    """The batches, with a line on a terminal that tells how many samples have been run on."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task, done = progress.add_task("splicing", total=None), 0
        for inputs in batches:
            yield inputs
            done += inputs.samples
            progress.update(task, description=f"splicing: {done:,} samples")


def print_splice(spliced: Mapping[str, Any]) -> None:
    """Print the numbers of `ae_lightning.evaluation.splice.Splice`."""
    console = PlainConsole()
    console.print(_table(spliced))
    for name, numbers in spliced["measures"].items():
        for part in _PARTS:
            if why := numbers.get(f"{part}_reason"):
                console.print(f"{_title(name)}: what is recovered is not known, since {why}")


def _table(spliced: Mapping[str, Any]) -> Table:
    made = "" if spliced["read"] == spliced["replaced"] else f", made of {spliced['read']}"
    whose = "samples that the run held out" if spliced["held_out"] else "samples"
    table = Table(
        title=f"{spliced['network']} with {spliced['replaced']} reconstructed{made}: {spliced['loss']} on "
        f"{spliced['samples']:,} {whose} of {spliced['data']}, ± standard error over samples",
        title_justify="left",
    )
    table.add_column("")
    for name in spliced["measures"]:
        table.add_column(_title(name), justify="right")
    for key, title in {**_LOSSES, **_PARTS}.items():
        cells = [_cell(numbers, key) for numbers in spliced["measures"].values()]
        table.add_row(title, *cells, style="bold" if key in ("spliced", *_PARTS) else "")
    return table


def _cell(numbers: Mapping[str, Any], key: str) -> str:
    value = numbers[key]
    if value is None:
        return "none"
    return with_error(value, numbers.get(f"{key}_se"), ".4f")


def _title(name: str) -> str:
    return name.replace("_", " ")
