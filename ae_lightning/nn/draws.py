"""Random numbers for the samples of a batch: as a stream goes on, or the same for a sample each time it is seen."""

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

# SplitMix64 (Steele et al., 2014); in 64 bits with a sign, whose products wrap around all the same.
_GOLDEN = 0x9E3779B97F4A7C15 - 2**64
_FIRST = 0xBF58476D1CE4E5B9 - 2**64
_SECOND = 0x94D049BB133111EB - 2**64


class Draws(ABC):
    """Random numbers for each sample of a batch, float32, on the device of the samples.

    What is asked for one after the other is independent.
    """

    @abstractmethod
    def uniform(self, *shape: int) -> Tensor:
        """Numbers (batch, *shape) that are uniform in [0, 1)."""

    @abstractmethod
    def normal(self, *shape: int) -> Tensor:
        """Numbers (batch, *shape) of mean 0 and variance 1."""

    def signs(self, *shape: int) -> Tensor:
        """Numbers (batch, *shape) that are −1 or 1, each as often."""
        return torch.where(self.uniform(*shape) < 0.5, -1.0, 1.0)


class StreamDraws(Draws):
    """The next numbers of a generator.

    Args:
        x: Samples (batch, …).
        generator: On the device of the samples; None stands for torch's own.
    """

    def __init__(self, x: Tensor, generator: torch.Generator | None = None) -> None:
        self._batch = len(x)
        self._how: dict[str, Any] = {"generator": generator, "device": x.device, "dtype": torch.float32}

    def uniform(self, *shape: int) -> Tensor:
        """Numbers (batch, *shape) that are uniform in [0, 1)."""
        return torch.rand(self._batch, *shape, **self._how)

    def normal(self, *shape: int) -> Tensor:
        """Numbers (batch, *shape) of mean 0 and variance 1."""
        return torch.randn(self._batch, *shape, **self._how)


class SampleDraws(Draws):
    """Numbers that are a function of the seed and of what a sample holds, whatever stands beside it in its batch.

    They are the same at each evaluation, in any order, for any batch size and any number of processes, and but for
    rounding in every precision and on every device. Samples that are alike get the same numbers.

    Args:
        x: Samples (batch, …), read in bfloat16, the narrowest format that any of them may come in.
        seed: Another seed gives every sample other numbers.
    """

    def __init__(self, x: Tensor, seed: int) -> None:
        bits = (x.detach().flatten(1).bfloat16() + 0.0).view(torch.int16).long()  # the sum makes −0 a 0
        told = _mixed(bits + _steps(bits.shape[1], x.device)).sum(1)
        self._keys = _mixed(told + _mixed(torch.tensor(seed, device=x.device)))[:, None]
        self._used = 0

    def uniform(self, *shape: int) -> Tensor:
        """Numbers (batch, *shape) that are uniform in [0, 1), of 24 bits."""
        return (_shifted(self._bits(shape), 40).float() * 2.0**-24).reshape(-1, *shape)

    def normal(self, *shape: int) -> Tensor:
        """Numbers (batch, *shape) of mean 0 and variance 1, none beyond ±5.3."""
        odd = _shifted(self._bits(shape), 41).float() * 2.0**-22 + (2.0**-23 - 1)  # between −1 and 1, never there
        return (odd.erfinv() * math.sqrt(2)).reshape(-1, *shape)

    def _bits(self, shape: tuple[int, ...]) -> Tensor:
        count = math.prod(shape)
        bits = _mixed(self._keys + _steps(count, self._keys.device, self._used))
        self._used += count
        return bits


def _steps(count: int, device: torch.device, used: int = 0) -> Tensor:
    """Where the generator of SplitMix64 is after its first steps, (count,)."""
    return torch.arange(used + 1, used + count + 1, device=device) * _GOLDEN


def _mixed(x: Tensor) -> Tensor:
    x = (x ^ _shifted(x, 30)) * _FIRST
    x = (x ^ _shifted(x, 27)) * _SECOND
    return x ^ _shifted(x, 31)


def _shifted(x: Tensor, places: int) -> Tensor:
    """Shifted to the right with zeros; torch fills in the sign."""
    return (x >> places) & (2 ** (64 - places) - 1)
