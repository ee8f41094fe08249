"""How many threads a fit on the CPU computes with: one for a small step, all there are for a large one.

Threads that share a product wait for each other actively. Where another process takes one of the cores, each of the
dozens of operations of a step waits until that process pauses. Measured on two cores, ms a step with one thread and
with two, medians of seven interleaved rounds, beside a load of 3 to 7 other processes and of 13 to 16:

| step (parameters, batch)       | FLOP   | load 3 to 7 | load 13 to 16 |
| ------------------------------ | ------ | ----------- | ------------- |
| toy model 8 × 5-2, 1,024       | 1.0 M  | 1.4 and 17  | 8.8 and 117   |
| toy dictionary 16 × 2-5, 1,024 | 2.9 M  | 2.0 and 30  | 17 and 341    |
| digits 64-64, 64               | 3.1 M  | 1.0 and 16  | 4.3 and 201   |
| digits 64-256, 64              | 13 M   | 1.3 and 19  | 9.6 and 223   |
| convolutional, MNIST, 128      | 96 M   | 54 and 324  |               |
| MNIST 784-256, 64              | 154 M  | 13 and 85   | 17 and 367    |
| MNIST 784-1024, 64             | 617 M  | 29 and 159  | 40 and 287    |
| MNIST 784-1024, 256            | 2.5 G  | 56 and 208  | 91 and 323    |

On a machine of its own the second thread saves a tenth of the step of 617 M FLOP (`benchmarks/README.md`), more of a
larger one, and next to nothing of what a single thread does within a millisecond: there is nothing to lose below
`SMALL_STEP`.

Another number of threads adds up in another order. So a run keeps the number that it began with in its `config.yaml`,
and goes on with it.
"""

import contextlib
import os
from collections.abc import Iterator

import torch
from torch.utils.flop_counter import FlopCounterMode

from ae_lightning.errors import ConfigError
from ae_lightning.models.base import Autoencoder
from ae_lightning.nn.modes import evaluation_mode

SMALL_STEP = 5e7
"""Floating-point operations of a step, multiplications and additions, below which one thread computes it."""

SHARE = "AE_LIGHTNING_SHARE_OF_CORES"
"""Environment variable by which a sweep says that `OMP_NUM_THREADS` is a run's share of the cores, not a wish."""

_THREADS = "OMP_NUM_THREADS"


def chosen_threads(typed: int | None, recorded: int | None) -> int | None:
    """The number of threads that somebody chose, be it for this command or when the run began; None if nobody did.

    Args:
        typed: That of `--threads` on the command line.
        recorded: That of a config, such as the run's own.

    Raises:
        ConfigError: It is less than 1.
    """
    chosen = typed if typed is not None else None if _is_wished() else recorded
    if chosen is not None and chosen < 1:
        raise ConfigError(f"--threads is {chosen}; it must be at least 1")
    return torch.get_num_threads() if chosen is None and _is_wished() else chosen


def threads_for(model: Autoencoder, batch_size: int, processes: int) -> int:
    """The number of threads for each process of a fit on the CPU.

    Args:
        model: The model, built.
        batch_size: Samples of a step in each process.
        processes: Processes on this machine, which share its cores.
    """
    if step_flops(model, batch_size) < SMALL_STEP:
        return 1
    return max(1, torch.get_num_threads() // processes)


def step_flops(model: Autoencoder, batch_size: int) -> int:
    """Multiplications and additions in the products of a training step: forward, and twice as many backward."""
    sample = torch.zeros(1, *model.input_shape, dtype=next(model.parameters()).dtype)
    counter = FlopCounterMode(display=False)
    with evaluation_mode(model), torch.random.fork_rng(devices=[]), counter:
        model(sample)
    return 3 * batch_size * counter.get_total_flops()


@contextlib.contextmanager
def computing_with(threads: int | None, processes: int = 1) -> Iterator[None]:
    """Compute with so many threads, or as before for None; so do the processes that are started meanwhile."""
    if threads is None:
        yield
        return
    before, environment = torch.get_num_threads(), os.environ.get(_THREADS)
    torch.set_num_threads(threads)
    if processes > 1:  # Lightning would give each its share of all cores
        os.environ[_THREADS] = str(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
        if processes > 1:
            os.environ.pop(_THREADS, None)
            os.environ |= {_THREADS: environment} if environment is not None else {}


def _is_wished() -> bool:
    return _THREADS in os.environ and SHARE not in os.environ
