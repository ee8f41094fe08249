"""What every library's process does: it trains models step by step, as it is asked to over a pipe, a line of JSON each.

A library is a function `build(setup)` that answers a `Competitor`. This runs in the peers' environment too, which has
no ae_lightning.
"""

import contextlib
import ctypes
import gc
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor, nn

#: Parts of a run in which the rate rises from zero and falls to zero, and in which a penalty rises to its coefficient.
RISE, FALL, PENALTY_RISE = 0.05, 0.2, 0.3


class Setup(NamedTuple):
    """What is to be trained.

    Args:
        kind: standard, jumprelu, gated, topk, batch_topk or matryoshka.
        inputs: Numbers in a sample.
        latents: Latents.
        batch: Samples in a batch.
        k: Active latents of a sample, of the kinds that select.
        coefficient: Of the penalty, of the kinds that have one; dictionary_learning's JumpReLU takes it for its L0.
        rate: Adam's.
        steps: Length of the run.
        moves: Whether the rate and the penalty rise and the rate falls, as in a whole run; else both are constant.
        dead_after: Samples without firing after which a latent is dead, and AuxK trains it where the library has that.
        instances: Copies in a population, where the library has such.
    """

    kind: str
    inputs: int
    latents: int
    batch: int
    k: int = 32
    coefficient: float = 1.0
    rate: float = 1e-3
    steps: int = 10_000
    moves: bool = False
    dead_after: int = 10_000_000
    instances: int | None = None

    @property
    def rise(self) -> int:
        """Steps in which the rate rises."""
        return round(RISE * self.steps) if self.moves else 0

    @property
    def fall(self) -> int:
        """Steps, the last ones, in which it falls."""
        return round(FALL * self.steps) if self.moves else 0

    @property
    def penalty_rise(self) -> int:
        """Steps in which the penalty's coefficient rises."""
        return round(PENALTY_RISE * self.steps) if self.moves else 0

    def rate_factor(self, step: int) -> float:
        """What the rate is multiplied by, in loops of ours around another library's model."""
        rising = (step + 1) / self.rise if self.rise else 1.0
        falling = (self.steps - step) / self.fall if self.fall else 1.0
        return max(0.0, min(1.0, rising, falling))

    def penalty_factor(self, step: int) -> float:
        """What the coefficient is multiplied by, likewise."""
        return min(1.0, step / self.penalty_rise) if self.penalty_rise else 1.0


class Competitor(Protocol):
    """A model with its optimizer, as one library has it."""

    def parameters(self) -> Iterable[nn.Parameter]:
        """All that is trained."""

    def step(self, x: Tensor) -> None:
        """Train on a batch (batch, inputs)."""

    def answer(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Reconstruction and code of a batch, selected from it as in training."""


class Peak(NamedTuple):
    """Memory in bytes: the most that a step takes above what is held before it, and the most in all."""

    above: int
    total: int


class Worker:
    """Answers requests by a competitor.

    Args:
        build: Makes the competitor of a setup.
    """

    def __init__(self, build: Callable[[Setup], Competitor]) -> None:
        self.build = build

    def prepare(self, setup: dict[str, Any], data: str) -> None:
        """Make a model, and read the samples it will be trained on, all of them into memory."""
        torch.manual_seed(0)
        self.setup = Setup(**setup)
        self.batches = _endless(read(data), self.setup.batch)
        self.competitor = self.build(self.setup)

    def steps(self, warmup: int, timed: int) -> float:
        """Seconds that a step takes, the mean of the timed ones."""
        for x in itertools.islice(self.batches, warmup):
            self.competitor.step(x)
        taken = list(itertools.islice(self.batches, timed))
        start = time.perf_counter()
        for x in taken:
            self.competitor.step(x)
        return (time.perf_counter() - start) / timed

    def memory(self, warmup: int) -> Peak:
        """What a step takes, gradients included, beside weights, the optimizer's state and the samples."""
        for x in itertools.islice(self.batches, warmup):
            self.competitor.step(x)
        x = next(self.batches)
        with peak(self.competitor.parameters()) as found:
            self.competitor.step(x)
        return found[0]

    def train(self, held_out: str) -> dict[str, float]:
        """Train for the whole run; FVU and L0 of samples held out."""
        for x in itertools.islice(self.batches, self.setup.steps):
            self.competitor.step(x)
        return quality(self.competitor.answer, read(held_out), self.setup.batch)


def serve(worker: Worker) -> None:
    """Answer one request a line until there are no more; what libraries print goes to the standard error."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    sys.stdout = sys.stderr
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    for line in sys.stdin:
        request = json.loads(line)
        answers.write(json.dumps(getattr(worker, request.pop("do"))(**request)) + "\n")


def read(path: str) -> Tensor:
    """Samples of a .npy, copied into memory, where a mapped file's pages would be counted as the step's."""
    return torch.from_numpy(np.load(path))


@torch.no_grad()
def quality(answer: Callable[[Tensor], tuple[Tensor, Tensor]], x: Tensor, batch_size: int) -> dict[str, float]:
    """Fraction of variance unexplained, over all samples, and active latents of a sample in the mean.

    What selects from a batch does so here too, from batches as large as in training: k of a sample in the mean.
    """
    error = active = 0.0
    for batch in x.split(batch_size):
        x_hat, z = answer(batch)
        error += (x_hat - batch).double().square().sum().item()
        active += (z != 0).sum().item()
    return {"fvu": error / (x - x.mean(0)).double().square().sum().item(), "l0": active / len(x)}


@contextlib.contextmanager
def peak(parameters: Iterable[nn.Parameter]) -> Iterator[list[Peak]]:
    """Measure what is done within; gradients that are there are dropped before, and what is free goes to the system.

    The kernel notes the most resident memory of a process (VmHWM) from where it is told to begin anew, so that nothing
    that lives for a moment only is missed. Arrays of 32 MiB and more are mapped one by one, and given back when freed.
    """
    for parameter in parameters:
        parameter.grad = None
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")  # the peak is what is resident now
    before, found = _status("VmRSS"), []  # type: tuple[int, list[Peak]]
    yield found
    most = _status("VmHWM")
    found.append(Peak(most - before, most))


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))


def _endless(x: Tensor, batch: int) -> Iterator[Tensor]:
    """Batches in order, over and over."""
    return itertools.cycle(x.split(batch))
