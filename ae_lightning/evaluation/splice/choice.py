"""Some of the samples that a network can be shown."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ae_lightning.harvesting.inputs import Inputs, Source


def evenly_spaced(numbers: Tensor, most: int) -> Tensor:
    """So many of some numbers (n,), or all if there are no more, from the first to the last at equal steps."""
    if len(numbers) <= most:
        return numbers
    return numbers[torch.linspace(0, len(numbers) - 1, most, dtype=torch.float64).round().long()]


def chosen(source: Source, numbers: Tensor | None, most: int, batch_size: int) -> Iterator[Inputs]:
    """Some samples of a source, in its order.

    Args:
        source: What there is.
        numbers: Which samples, rising, (n,) int64; None takes the first.
        most: How many of the first.
        batch_size: Samples of a batch at most.
    """
    numbers = torch.arange(most) if numbers is None else numbers
    before, last = 0, int(numbers[-1])
    for inputs in source.batches():
        here = numbers[(numbers >= before) & (numbers < before + inputs.samples)] - before
        for rows in here.split(batch_size) if len(here) else ():
            yield inputs.selected(rows)
        before += inputs.samples
        if before > last:
            return
