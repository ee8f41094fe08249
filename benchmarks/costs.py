"""What the parts of a run cost: each callback, starting, growing sizes, and memory.

    AE_LIGHTNING_DATA=… python benchmarks/costs.py [--rounds 3] [PART …]

Parts: callbacks, start, growth, memory. Trained is 784-1024-784 on MNIST, batch 256, unless said otherwise.
"""

import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from arguments import parts_and_rounds
from rich.console import Console
from rich.table import Table
from timed_fit import seconds_of_fit

STEPS = 100
BASE = [
    *("--config", "overcomplete_mnist", "--trainer.callbacks", "null", "--snapshots.schedule.count", "null"),
    *("--trainer.limit_train_batches", str(STEPS), "--trainer.limit_val_batches", "0", "--checkpoint.monitor", "null"),
]
NO_IMAGES = ["--images.schedule.count", "1", "--images.schedule.first", "false", "--images.schedule.last", "false"]
CALLBACKS = {
    "pictures in TensorBoard, ten moments": [],
    "snapshots, 51 of 6.4 MB": [*NO_IMAGES, "--snapshots.schedule.count", "51"],
    "ScheduledValidation, 51 of 6,000 images": [
        *(*NO_IMAGES, "--trainer.callbacks", "ScheduledValidation", "--trainer.callbacks.schedule.count", "51"),
        *("--trainer.limit_val_batches", "1.0"),
    ],
    "DecoderNorm": [*NO_IMAGES, "--trainer.callbacks", "DecoderNorm"],
    "ResampleDeadLatents, always counting": [
        *(*NO_IMAGES, "--trainer.callbacks", "ResampleDeadLatents"),
        *("--trainer.callbacks.every", "50", "--trainer.callbacks.window", "50"),
    ],
    "LinearProbe, twice, of 6,000 images and once of all": [*NO_IMAGES, "--trainer.callbacks", "LinearProbe"],
    "WeightStatistics, twice": [*NO_IMAGES, "--trainer.callbacks", "WeightStatistics"],
    "Figures, at the end": [*NO_IMAGES, "--trainer.callbacks", "Figures"],
}
"""Options on top of `BASE`, in which each callback is the only one; the first is switched off in all others."""

COMMANDS = {
    "--version": ["--version"],
    "--help": ["--help"],
    "fit --help": ["fit", "--help"],
    "configs": ["configs"],
    "a single step on the digits, to the end": [
        *("fit", "--config", "overcomplete_digits", "--trainer.callbacks", "null", "--trainer.fast_dev_run", "1"),
    ],
}
GROWTH: dict[str, tuple[list[int], Callable[[int], list[str]]]] = {
    "latents": ([256, 512, 1024, 2048], lambda n: ["--model.latent_dim", str(n)]),
    "batch": ([64, 128, 256, 512], lambda n: ["--data.batch_size", str(n)]),
    "instances": ([1, 2, 4, 8], lambda n: ["--model.latent_dim", "128", "--model.instances", str(n)]),
    "snapshots": ([12, 25, 50, 100], lambda n: ["--snapshots.schedule.count", str(n)]),
}
"""Four sizes, and the options that set them, on top of `BASE` without pictures."""


def callbacks(rounds: int) -> Table:
    """Milliseconds a step that a callback adds: medians of differences within a round."""
    table = _table(f"a callback's cost in a fit of {STEPS} steps", "callback", "ms a step", "of a step without any")
    bare: list[float] = []
    added: dict[str, list[float]] = {name: [] for name in CALLBACKS}
    for _ in range(rounds):
        bare.append(seconds_of_fit([*BASE, *NO_IMAGES]) / STEPS)
        for name, options in CALLBACKS.items():
            added[name].append(seconds_of_fit([*BASE, *options]) / STEPS - bare[-1])
    for name, seconds in added.items():
        cost = statistics.median(seconds)
        table.add_row(name, f"{1e3 * cost:.2f}", f"{cost / statistics.median(bare):.1%}")
    return table


def start(rounds: int) -> Table:
    """Seconds of whole commands, each in a process of its own."""
    table = _table("commands, from the process's start to its end", "command", "seconds")
    # Without bytecode every start would compile torch and its friends anew.
    with_bytecode = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for name, arguments in COMMANDS.items():
        command = [sys.executable, "-m", "ae_lightning", *arguments]
        seconds = []
        for _ in range(rounds + 1):  # the first one reads the libraries from the disk
            begun = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True, env=with_bytecode)
            seconds.append(time.perf_counter() - begun)
        table.add_row(name, f"{statistics.median(seconds[1:]):.2f}")
    return table


def growth(rounds: int) -> Table:
    """Milliseconds a step at four sizes, and the slope of logarithms: 1 where twice the size takes twice as long."""
    table = _table("growth", "size", *("" for _ in range(4)), "slope")
    for name, (sizes, options) in GROWTH.items():
        seconds = [
            statistics.median(seconds_of_fit([*BASE, *NO_IMAGES, *options(size)]) for _ in range(rounds))
            for size in sizes
        ]
        slope = np.polyfit(np.log(sizes), np.log(seconds), 1)[0]
        table.add_row(
            name, *(f"{size}: {1e3 * s / STEPS:.1f}" for size, s in zip(sizes, seconds, strict=True)), f"{slope:.2f}"
        )
    return table


def memory(rounds: int) -> Table:
    """Peak memory of fits above the imported libraries, each in a process of its own; `rounds` changes nothing."""
    table = _table("peak memory above the imported libraries", "fit", "MiB", "of these, data and labels")
    whole = ["--config", "overcomplete_mnist"]
    for name, options in (
        ("overcomplete_mnist, 51 snapshots and both probes", whole),
        ("its first 100 steps with default callbacks", BASE),
    ):
        peak, data = _in_new_process(_measure_memory, options)
        table.add_row(name, f"{peak / 2**20:,.0f}", f"{data / 2**20:,.0f}")
    return table


def _in_new_process(measure: Callable[..., None], options: list[str]) -> Any:
    context = multiprocessing.get_context("spawn")
    queue: Any = context.Queue()
    process = context.Process(target=measure, args=(options, queue))
    process.start()
    result = queue.get()
    process.join()
    return result


def _measure_memory(options: list[str], queue: Any) -> None:
    import psutil
    import sklearn.linear_model  # noqa: F401 - imported before the memory is measured

    from ae_lightning.data import MNISTDataModule

    before = psutil.Process().memory_info().rss
    seconds_of_fit(options)
    peak = _peak_memory()
    data = MNISTDataModule(normalize=(0.1307, 0.3081))
    data.setup("fit")
    train, test = data.train_set, data.test_set  # the validation set is a part of the first
    arrays: list[Any] = [train.x, train.y, test.x, test.y]
    queue.put((peak - before, sum(array.nbytes for array in arrays)))


def _peak_memory() -> int:
    """Bytes; the largest that getrusage knows is that of the process which started this one, if that was larger."""
    lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) * 1024


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title)
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number else "left")
    return table


PARTS = {"callbacks": callbacks, "start": start, "growth": growth, "memory": memory}


def main() -> None:
    names, rounds = parts_and_rounds(__doc__, PARTS, rounds=3)
    for name in names:
        Console().print(PARTS[name](rounds))


if __name__ == "__main__":
    main()
