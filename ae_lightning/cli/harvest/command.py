"""`ae-lightning harvest`: activations of a network's layers, over data or texts, into a store."""

import argparse
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ae_lightning.cli.command_line import apart_from_data
from ae_lightning.cli.command_parser import CommandParser
from ae_lightning.cli.main import is_out_of_memory
from ae_lightning.cli.numbers import wholes_of
from ae_lightning.errors import ConfigError

if TYPE_CHECKING:
    from ae_lightning.data.store import StoreIndex
    from ae_lightning.harvesting.sources import LoadedModel

DESCRIPTION = """\
Write the activations of a network's layers into a store, to train sparse dictionaries on.

  ae-lightning harvest --model classifier.py:Net --data mnist
  ae-lightning harvest --model classifier.py:Net --data mnist --layers hidden -o stores/hidden
  ae-lightning fit --model topk_sae --data ActivationsDataModule --data.root stores/hidden

The first command lists the layers with what each gives. A sample gives one row where a layer gives a vector, a row for
each position of a map, and a row for each token that is neither padding nor special.

--model is one of these:

  package.module:NAME, file.py:NAME   a module, or a class or function without arguments that gives one, or a pair of a
                                      module and its tokenizer; its code runs
  torchvision:NAME, timm:NAME         a network with trained weights, from the library's cache or fetched
  FOLDER                              a model of transformers that lies there; nothing is fetched
  CHECKPOINT, RUN                     an autoencoder of ours; without --data it is shown what it was trained on

The same command goes on where it was stopped, and ends with the same bytes.
`ae-lightning harvest --verify STORE` reads all of a store, and finds files that hold other bytes than were written.
"""
EXAMPLE = """example with a text:
  ae-lightning harvest --model models/minilm --layers encoder.layer.3 --text docs/*.txt --dtype float16 -o stores/minilm
"""
_NUMBERS = ("rows", "batch_size", "context", "processes", "shard_rows")


def main(arguments: list[str]) -> int:
    """Fill a store, or list the layers of a network."""
    ours, of_data = apart_from_data(arguments)
    parser = _parser()
    options = parser.parse_args(ours)
    if options.verify is not None:
        return _verify(options.verify, len(arguments) - ("--verify" in arguments))
    if options.model is None:
        raise ConfigError("--model must be given (`ae-lightning harvest --help` tells more)")
    numbers = wholes_of(options, _NUMBERS)
    seed = _seed_of(options.shuffle)
    if options.layers is not None and options.output is None:
        raise ConfigError("-o must name the folder of the store (`ae-lightning harvest --help` tells more)")
    if of_data and options.text:
        raise ConfigError("--data and --text are two things to show a model; name one of them")

    # From here on torch is needed, which takes seconds to import.
    from ae_lightning.cli.harvest.shown_by_options import data_settings
    from ae_lightning.harvesting.sources import load_model

    settings = data_settings(of_data, None if options.text else Path(options.model))
    model = load_model(options.model)
    if options.layers is None:
        return _list(model, settings, options, numbers)
    try:
        index = _harvest(model, settings, options, numbers, shlex.join(["ae-lightning", "harvest", *arguments]))
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise ConfigError(
            "there is not enough memory for this: lower --batch-size, --shard-rows, or of a text --context"
        ) from error
    if seed is not None:
        index = _shuffled(index, seed)
    print(_summary(index))
    return 0


def _verify(folder: str, words: int) -> int:
    """Look whether all files of a store hold what was written."""
    if words > 1:
        raise ConfigError("--verify looks through a store that is there, and takes no further options")

    from ae_lightning.data.store import verify

    index = verify(folder, "--verify")
    print(f"{_summary(index)}\n  all {len(index.files):,} files hold what was written")
    return 0


def _seed_of(text: str | None) -> int | None:
    if text is None:
        return None
    if not text.isdecimal():
        raise ConfigError(f"--shuffle takes a seed, a whole number of at least 0, not {text!r}")
    return int(text)


def _list(model: "LoadedModel", settings: Any, options: argparse.Namespace, numbers: dict[str, int]) -> int:
    from ae_lightning.cli.harvest.layers import print_layers
    from ae_lightning.harvesting.listing import list_layers
    from ae_lightning.harvesting.shown import source_for

    inputs = None
    if settings or options.text:
        shown = {name: numbers[name] for name in ("batch_size", "context") if name in numbers}
        source = source_for(model, settings, options.text, split=options.split, **shown)
        inputs = source.first_batch()
    print_layers(list_layers(model.module, inputs, options.channels), inputs is not None)
    return 0


def _harvest(
    model: "LoadedModel", settings: Any, options: argparse.Namespace, numbers: dict[str, int], command: str
) -> "StoreIndex":
    from ae_lightning.cli.harvest.progress import telling
    from ae_lightning.evaluation.device import chosen_device
    from ae_lightning.harvesting.harvest import harvest

    layers = [layer.strip() for layer in options.layers.split(",")]
    with telling() as tell:
        return harvest(
            model,
            layers,
            options.output,
            settings,
            text=options.text,
            side=options.side,
            channels=options.channels,
            dtype=options.dtype,
            split=options.split,
            device=chosen_device(options.device) if options.device else None,
            covariance=True if options.covariance else None,
            command=command,
            tell=tell,
            **numbers,
        )


def _shuffled(index: "StoreIndex", seed: int) -> "StoreIndex":
    from ae_lightning.cli.harvest.progress import telling
    from ae_lightning.data.store import shuffle_store
    from ae_lightning.harvesting.collect import Reached

    with telling("shuffling: ") as tell:

        def progress(done: int, of: int) -> None:
            rows = done * index.rows // of  # which two passes go through
            tell(Reached(rows, rows, done / of))

        return shuffle_store(index.folder, seed, "-o", progress)


def _summary(index: "StoreIndex") -> str:
    arrays = ", ".join(f"{name} ({index.width(name):,} numbers)" for name in index.arrays)
    left_out = {reason: count for reason, count in index.mask["dropped"].items() if count}
    told = ", ".join(f"{count:,} {reason}" for reason, count in left_out.items())
    dtype = next(iter(index.arrays.values()))["dtype"]
    return (
        f"store: {index.folder}\n  {index.rows:,} rows of {arrays} in {dtype}, of {index.samples:,} samples, in "
        f"{len(index.shards):,} shard{'s' * (len(index.shards) > 1)}" + (f"\n  tokens left out: {told}" if told else "")
    )


def _parser() -> CommandParser:
    parser = CommandParser(
        "harvest",
        usage="ae-lightning harvest --model MODEL [--layers A,B] [--side input|output|both] "
        "(--data CLASS_OR_PART [--data.option VALUE] | --text FILE ...) [--dtype TYPE] [-o STORE] [options]",
        description=DESCRIPTION,
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--model", metavar="MODEL", help="the network, see above")
    add("--layers", metavar="A,B,…", help="layers by their names; without it they are listed")
    add("--side", default="output", metavar="SIDE", help="what to take: output, input or both (default: output)")
    add("--data", metavar="CLASS_OR_PART", help="data to show, as fit takes them, with their options --data.…")
    add("--text", nargs="+", default=[], metavar="FILE", help="text files to show, through the model's tokenizer")
    add("--context", metavar="N", help="most tokens of a sequence of text (default: 128, or what the model takes)")
    add("--split", default="development", metavar="PART", help="part of the data: development (training and validation "
        "samples, the default) or test")  # fmt: skip
    add("--dtype", default="float32", metavar="TYPE", help="float32, float16 or bfloat16 (default: float32)")
    add("--channels", choices=("first", "last"), help="where in a sample the width of a row is, if the list of layers "
        "shows it wrong")  # fmt: skip
    add("--rows", metavar="N", help="most rows (default: all)")
    add("--batch-size", metavar="N", help="samples that the network is shown at a time (default: 256; of text 32)")
    add("--device", metavar="DEVICE", help="cpu, cuda, cuda:1 or mps (default: a GPU if there is one)")
    add("--processes", metavar="N", help="processes that run the network (default: 1)")
    add("--shard-rows", metavar="N", help="rows of a file (default: 128 MB of them)")
    add("--covariance", action="store_true", help="keep covariances of layers above 4,096 numbers too")
    add("--shuffle", nargs="?", const="0", metavar="SEED", help="shuffle all rows in a second pass (default seed: 0)")
    add("--verify", metavar="STORE", help="look through a store that is there; needs no other option")
    add("-o", "--output", type=Path, metavar="STORE", help="folder of the store")
    return parser
