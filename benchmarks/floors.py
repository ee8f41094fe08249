"""What the arithmetic of a step alone takes: its matrix products or convolutions, timed on this machine."""

import itertools
import time
from collections.abc import Callable

import plain_loops
import torch
from torch import Tensor, nn


def seconds_of(work: Callable[[], object], repeats: int = 20) -> float:
    """Seconds that some work takes once, the mean over repeats after a first time that does not count."""
    work()
    start = time.perf_counter()
    for _ in range(repeats):
        work()
    return (time.perf_counter() - start) / repeats


def products(shape: tuple[int, ...], widths: list[int], batch: int, dtype: torch.dtype = torch.float32) -> float:
    """Seconds of a step's products through fully connected layers of these widths.

    For each layer one forward, one for the weight's gradient, and but for the first one for its input's.

    Args:
        shape: Leading instances, or nothing.
        widths: From the input to the output.
        batch: Samples.
        dtype: Of all matrices.
    """
    pairs: list[tuple[Tensor, Tensor]] = []
    for number, (fan_in, fan_out) in enumerate(itertools.pairwise(widths)):
        x, weight, gradient = (
            torch.randn(*shape, *sides).to(dtype) for sides in ((batch, fan_in), (fan_in, fan_out), (batch, fan_out))
        )
        pairs += [(x, weight), (x.mT, gradient), *([(gradient, weight.mT)] if number else [])]
    return seconds_of(lambda: [a @ b for a, b in pairs])


def forward(widths: list[int], samples: int, batch: int = 1024) -> float:
    """Seconds of the products of one pass forward of so many samples, a batch at a time."""
    pairs = [(torch.randn(batch, a), torch.randn(a, b)) for a, b in itertools.pairwise(widths)]
    return samples / batch * seconds_of(lambda: [a @ b for a, b in pairs])


def convolutions(batch: int) -> float:
    """Seconds of a step's convolutions in the deep convolutional autoencoder, forward and backward."""
    x = torch.randn(batch, 1, 28, 28)
    steps: list[tuple[nn.Module, Tensor, list[Tensor], Tensor]] = []
    for layer in plain_loops.deep_conv().children():
        if isinstance(layer, (nn.Conv2d, nn.ConvTranspose2d)):
            out = layer(x.requires_grad_(bool(steps)))
            wanted = [layer.weight, *([x] if steps else [])]
            steps.append((layer, x, wanted, torch.randn_like(out)))
        else:
            out = layer(x)
        x = out.detach()
    return seconds_of(lambda: [torch.autograd.grad(layer(x), wanted, out) for layer, x, wanted, out in steps])
