"""Time one pass over MNIST with `ae-lightning fit` beside the plain PyTorch loop a notebook would have.

Both train 784-1024-784 on 54,000 images, batch 256, and then measure the validation error. The plain loop is written
as notebooks are: data in memory, unfused Adam, `.item()` at each step. All rows are interleaved in one process and
repeated; a row's ratio is the median of its ratios to the plain loop of the same round.

    AE_LIGHTNING_DATA=… python benchmarks/fit_beside_plain_loop.py [--rounds 5]
"""

import argparse
import contextlib
import multiprocessing
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from rich.console import Console
from timed_fit import seconds_of_fit, table_of_ratios
from torch import Tensor, nn

BATCH = 256
DEFAULT_SNAPSHOTS = ["--snapshots.schedule.count", "null"]
DEFAULT_CALLBACKS = ["--trainer.callbacks", "null"]
ROWS: dict[str, tuple[list[str], float | None]] = {
    "fit, float32": ([*DEFAULT_CALLBACKS, *DEFAULT_SNAPSHOTS], 0.95),
    "fit, bf16-mixed": ([*DEFAULT_CALLBACKS, *DEFAULT_SNAPSHOTS, "--trainer.precision", "bf16-mixed"], 0.6),
    "fit, float32, 51 snapshots": (DEFAULT_CALLBACKS, None),
    "fit, float32, the whole experiment": ([], None),
}
"""Options on top of `overcomplete_mnist`, and the ratio wanted."""


def load_mnist() -> tuple[Tensor, Tensor]:
    """Standardized training and validation images as float32 rows."""
    from ae_lightning.data import MNISTDataModule

    data = MNISTDataModule(normalize=(0.1307, 0.3081))
    data.prepare_data()
    data.setup("fit")
    return tuple(torch.cat([x for x, _ in part.batches(4096)]).flatten(1) for part in (data.train_set, data.val_set))  # type: ignore[return-value]


def plain_loop(train: Tensor, val: Tensor, autocast: bool = False) -> float:
    """Seconds of a pass of the plain loop and one validation."""
    torch.manual_seed(17)
    model = nn.Sequential(nn.Linear(784, 1024), nn.ReLU(), nn.Linear(1024, 784))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    context: Callable[[], Any] = contextlib.nullcontext
    if autocast:
        context = lambda: torch.autocast("cpu", torch.bfloat16)  # noqa: E731
    start = time.perf_counter()
    for rows in torch.randperm(len(train)).split(BATCH):
        x = train[rows]
        optimizer.zero_grad()
        with context():
            loss = nn.functional.mse_loss(model(x), x)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    with torch.no_grad(), context():
        losses.extend(nn.functional.mse_loss(model(x), x).item() for x in val.split(1024))
    return time.perf_counter() - start


def fit(options: list[str]) -> float:
    """Seconds of the experiment's fit."""
    return seconds_of_fit(["--config", "overcomplete_mnist", *options])


def arithmetic_floor(steps: int, repeats: int = 20) -> float:
    """Seconds that the five matrix products of a step alone take, times `steps`, at this machine's speed."""
    x, w, z, v = torch.randn(BATCH, 784), torch.randn(784, 1024), torch.randn(BATCH, 1024), torch.randn(1024, 784)
    products = [(x, w), (z, v), (x, v.T), (z.T, x), (x.T, z)]
    for a, b in products:
        a @ b
    start = time.perf_counter()
    for _ in range(repeats):
        for a, b in products:
            a @ b
    return steps * (time.perf_counter() - start) / repeats


def peak_memory_of_fit(options: list[str]) -> tuple[float, float]:
    """GiB of a fit's peak above the imported libraries, and seconds to load MNIST, in a process of its own."""
    context = multiprocessing.get_context("spawn")
    queue: Any = context.Queue()
    process = context.Process(target=_measure_memory, args=(options, queue))
    process.start()
    result = queue.get()
    process.join()
    return result


def _measure_memory(options: list[str], queue: Any) -> None:
    import resource

    import psutil
    import sklearn.linear_model  # noqa: F401

    from ae_lightning.data import MNISTDataModule

    here = psutil.Process()
    before = here.memory_info().rss
    start = time.perf_counter()
    data = MNISTDataModule(normalize=(0.1307, 0.3081))
    data.prepare_data()
    data.setup("fit")
    loading = time.perf_counter() - start
    del data
    fit(options)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    queue.put(((peak - before) / 2**30, loading))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="repetitions of every row (default 5)")
    rounds = parser.parse_args().rounds
    if "AE_LIGHTNING_DATA" not in os.environ:
        raise SystemExit("name the folder that holds MNIST/raw with AE_LIGHTNING_DATA")
    console = Console()
    memory, loading = peak_memory_of_fit([])
    train, val = load_mnist()
    plain_loop(train[: 10 * BATCH], val)  # warm up threads and allocator
    times: dict[str, list[float]] = {"plain loop, float32": [], "plain loop, bfloat16 autocast": []}
    times |= {name: [] for name in ROWS}
    for number in range(rounds):
        console.print(f"round {number + 1} of {rounds}")
        times["plain loop, float32"].append(plain_loop(train, val))
        times["plain loop, bfloat16 autocast"].append(plain_loop(train, val, autocast=True))
        for name, (options, _) in ROWS.items():
            times[name].append(fit(options))
    table = table_of_ratios(
        f"one pass of {len(train):,} images",
        times,
        "plain loop, float32",
        {name: wanted for name, (_, wanted) in ROWS.items() if wanted},
    )
    floor = arithmetic_floor(-(-len(train) // BATCH))
    ratio = floor / statistics.median(times["plain loop, float32"])
    table.add_row("matrix products alone, float32", f"{floor:.2f}", f"{ratio:.2f}", "")
    console.print(table)
    console.print(f"loading MNIST from the raw files: {loading:.2f} s (wanted: under 1.5)")
    console.print(f"peak memory of fit above the imported libraries: {memory:.2f} GiB (wanted: under 1.2)")


if __name__ == "__main__":
    main()
