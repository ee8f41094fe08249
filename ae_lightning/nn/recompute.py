"""Memory for time: activations that are computed again when their gradient is needed."""

import contextlib
from collections.abc import Callable
from typing import TypeVar

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from ae_lightning.nn.modes import frozen_running_statistics

T = TypeVar("T")


def recomputed(function: Callable[[Tensor], T], x: Tensor, module: nn.Module) -> T:
    """Compute function(x), keep x alone for the backward pass, and compute the rest again there.

    Values and gradients are those of function(x); the running statistics of batch normalization, which a second pass
    would move twice (pytorch/pytorch#96136), are too.

    Args:
        function: A deterministic function, such as a method of `module`.
        x: Its argument.
        module: What holds the layers that it runs.
    """
    return checkpoint(
        function,
        x,
        use_reentrant=False,
        preserve_rng_state=False,  # nothing is drawn
        context_fn=lambda: (contextlib.nullcontext(), frozen_running_statistics(module)),
    )
