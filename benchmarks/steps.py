"""A bare training step of a dictionary, as a fit takes it, and how long work takes."""

import time
from collections.abc import Callable

import torch
from torch import Tensor

from ae_lightning.models.sparse_dictionary import SparseDictionary


def bare_step(sae: SparseDictionary, rate: float) -> Callable[[Tensor], None]:
    """Forward and backward pass of a batch, fused Adam, and the counts and thresholds that a fit keeps."""
    optimizer = torch.optim.Adam(sae.parameters(), lr=rate, fused=True)

    def step(x: Tensor) -> None:
        losses, output = sae.loss(x)
        optimizer.zero_grad()
        losses["loss"].backward()
        optimizer.step()
        sae.observe(output)
        sae.advance()

    return step


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
