"""A network that runs in this process, or in several others that share its batches."""

import contextlib
import signal
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import torch
from torch import multiprocessing

from ae_lightning.errors import DataError
from ae_lightning.harvesting.capture import Capture, Point, Taken
from ae_lightning.harvesting.inputs import Inputs
from ae_lightning.harvesting.layout import Channels
from ae_lightning.harvesting.sources import LoadedModel, load_model

_AHEAD = 2  # batches that wait for each process, so that none waits for this one

Result = tuple[Inputs, Taken | None]
"""A batch, and what was taken of it; None where it was not to be computed."""


class Work(NamedTuple):
    """What the network of each process is to do."""

    model: LoadedModel
    points: Sequence[Point]
    channels: Channels | None
    device: torch.device


def computed_here(work: Work, batches: Iterable[tuple[Inputs, bool]]) -> Generator[Result, None, None]:
    """Take the activations of batches, one after the other, in this process.

    Args:
        work: What is to be done.
        batches: Each with whether it is to be computed.
    """
    capture = Capture(work.model.module.to(work.device), work.points, work.channels)
    for inputs, wanted in batches:
        yield inputs, capture(inputs) if wanted else None


def computed_by(processes: int, work: Work, batches: Iterable[tuple[Inputs, bool]]) -> Generator[Result, None, None]:
    """Take the activations of batches in several processes, and give them in the order of the batches.

    Each process has its share of the cores, or a GPU of its own. A script that asks for several has to begin with
    ``if __name__ == "__main__":``, since each process imports it.

    Args:
        processes: How many.
        work: What is to be done.
        batches: Each with whether it is to be computed.

    Raises:
        DataError: A process has ended.
    """
    with contextlib.ExitStack() as started:
        connections = [started.enter_context(_started(number, processes, work)) for number in range(processes)]
        waiting: deque[tuple[Inputs, Connection | None]] = deque()
        turn = 0
        for inputs, wanted in batches:
            connection = connections[turn % processes] if wanted else None
            if connection is not None:
                turn += 1
                _send(connection, inputs)
            waiting.append((inputs, connection))
            while waiting and (len(waiting) > _AHEAD * processes or waiting[0][1] is None):
                yield _received(*waiting.popleft())
        while waiting:
            yield _received(*waiting.popleft())


@contextlib.contextmanager
def _started(number: int, processes: int, work: Work) -> Iterator[Connection]:
    """A process that takes activations of what it is sent, until the block ends."""
    context = multiprocessing.get_context("spawn")  # threads of this process would not live on in a fork
    ours, theirs = context.Pipe()
    threads = max(1, torch.get_num_threads() // processes)
    process = context.Process(target=_serve, args=(theirs, _portable(work, number), threads), daemon=True)
    process.start()
    theirs.close()
    try:
        yield ours
    finally:
        process.terminate()
        process.join()
        ours.close()


def _portable(work: Work, number: int) -> tuple[Any, ...]:
    """The work in a form that can be sent: a network that a name stands for by its name, and its weights."""
    module, device = work.model.module.cpu(), work.device
    if device.type == "cuda" and device.index is None:
        device = torch.device("cuda", number % torch.cuda.device_count())
    by_name = work.model.kind != "object" or ":" in work.model.name
    source = work.model.name if by_name else module
    return source, module.state_dict() if by_name else None, work.points, work.channels, device


def _serve(connection: Connection, portable: tuple[Any, ...], threads: int) -> None:
    """Take the activations of what comes, until the process is ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the first process ends this one
    torch.set_num_threads(threads)
    source, state, points, channels, device = portable
    try:
        module = load_model(source).module
        if state is not None:
            module.load_state_dict(state)
        capture = Capture(module.to(device), points, channels)
    except Exception as error:
        connection.send(error)
        return
    while True:
        inputs = connection.recv()
        try:
            taken = capture(inputs)
            connection.send(taken._replace(rows={name: rows.cpu() for name, rows in taken.rows.items()}))
        except Exception as error:
            connection.send(error)


def _send(connection: Connection, inputs: Inputs) -> None:
    with contextlib.suppress(OSError):  # what ended it is told where its answer is asked for
        connection.send(Inputs(inputs.args, inputs.kwargs, inputs.samples))  # the rest is of no use there


def _received(inputs: Inputs, connection: Connection | None) -> Result:
    if connection is None:
        return inputs, None
    try:
        answer = connection.recv()
    except (EOFError, OSError) as error:
        raise DataError(
            "a process of the harvest has ended, perhaps for want of memory; the same command goes on"
        ) from error
    if isinstance(answer, Exception):
        raise answer
    return inputs, answer
