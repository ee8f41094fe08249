"""The mode of a network for a while: evaluation, or batch normalization that does not count a batch twice."""

import contextlib
from collections.abc import Iterator

import torch
from torch import nn


@contextlib.contextmanager
def evaluation_mode(module: nn.Module) -> Iterator[None]:
    """No dropout, no batch statistics, no gradients; afterwards every part is in the mode it was in."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for part, mode in modes.items():
            part.training = mode


_BatchNorm = (nn.BatchNorm1d, nn.BatchNorm2d)


@contextlib.contextmanager
def frozen_running_statistics(module: nn.Module) -> Iterator[None]:
    """Compute as always, by the statistics of the batch, but do not count the batch again."""
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm)]
    kept = [(norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm in norms:
        norm.momentum, norm.num_batches_tracked = 0.0, None
    try:
        yield
    finally:
        for norm, (momentum, batches) in zip(norms, kept, strict=True):
            norm.momentum, norm.num_batches_tracked = momentum, batches


@contextlib.contextmanager
def running_statistics_in_use(module: nn.Module) -> Iterator[None]:
    """Normalize by the running statistics, as in evaluation, so that no sample depends on the others."""
    norms = [part for part in module.modules() if isinstance(part, _BatchNorm) and part.training]
    for norm in norms:
        norm.eval()
    try:
        yield
    finally:
        for norm in norms:
            norm.train()
