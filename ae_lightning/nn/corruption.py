"""Ways to corrupt samples, for autoencoders that are to mend them."""

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn

from ae_lightning.errors import ConfigError
from ae_lightning.nn.draws import Draws
from ae_lightning.nn.settings import settings_of


class Corruption(nn.Module, ABC):
    """What a denoising autoencoder does to samples before it reads them.

    A subclass writes `forward`, and takes every random number from the draws it is given: these are other ones at each
    step of training, and the same for a sample at each evaluation. It keeps each argument of its constructor, a plain
    value, under the argument's name.

    Example:
        >>> class Faded(Corruption):
        ...     def forward(self, x, draws):
        ...         return x * draws.uniform(*x.shape[1:])
    """

    @abstractmethod
    def forward(self, x: Tensor, draws: Draws) -> Tensor:
        """Corrupted samples, (batch, *input_shape) as they came; x stays as it is.

        Args:
            x: Samples (batch, *input_shape).
            draws: Gives `uniform(*shape)` and `normal(*shape)`, (batch, *shape).
        """

    def check(self, input_shape: tuple[int, ...]) -> None:
        """Refuse options that cannot be, and samples that cannot be corrupted so; a model asks when it is built.

        Nothing is refused unless a subclass says otherwise.

        Raises:
            ConfigError: They cannot.
        """

    @property
    def settings(self) -> dict[str, Any]:
        """The class and its arguments as plain values, from which it can be built again."""
        return settings_of(self)


class GaussianNoise(Corruption):
    """Adds normal noise of deviation `sigma` to every entry, in the units of the data; nothing is cut off.

    Source: Vincent et al. (2010), "Stacked denoising autoencoders".

    Args:
        sigma: Standard deviation.
    """

    def __init__(self, sigma: float = 0.5) -> None:
        super().__init__()
        self.sigma = sigma

    def forward(self, x: Tensor, draws: Draws) -> Tensor:
        """Samples with noise, x + σ ε."""
        return x + self.sigma * draws.normal(*x.shape[1:]).to(x.dtype)

    def check(self, input_shape: tuple[int, ...]) -> None:
        """Refuse a deviation below 0.

        Raises:
            ConfigError: It is.
        """
        _require(self.sigma >= 0, "sigma", self.sigma, "at least 0")

    def extra_repr(self) -> str:
        """The options, for a printed model."""
        return f"sigma={self.sigma}"


class MaskingNoise(Corruption):
    """Sets entries to one value, each with the probability `rate`.

    Source: Vincent et al. (2008), "Extracting and composing robust features with denoising autoencoders".

    Args:
        rate: Part of the entries, from 0 to 1.
        value: What stands in their place, in the units of the data.
    """

    def __init__(self, rate: float = 0.5, value: float = 0.0) -> None:
        super().__init__()
        self.rate = rate
        self.value = value

    def forward(self, x: Tensor, draws: Draws) -> Tensor:
        """Samples with some entries masked."""
        return x.masked_fill(draws.uniform(*x.shape[1:]) < self.rate, self.value)

    def check(self, input_shape: tuple[int, ...]) -> None:
        """Refuse a rate beyond 0 and 1.

        Raises:
            ConfigError: It is.
        """
        _require_part(self.rate)

    def extra_repr(self) -> str:
        """The options, for a printed model."""
        return f"rate={self.rate}, value={self.value}"


class SaltAndPepper(Corruption):
    """Sets entries to the lowest or the highest value, each with the probability `rate` / 2.

    Source: Vincent et al. (2010), "Stacked denoising autoencoders".

    Args:
        rate: Part of the entries, from 0 to 1.
        low: Pepper, in the units of the data.
        high: Salt.
    """

    def __init__(self, rate: float = 0.5, low: float = 0.0, high: float = 1.0) -> None:
        super().__init__()
        self.rate = rate
        self.low = low
        self.high = high

    def forward(self, x: Tensor, draws: Draws) -> Tensor:
        """Samples with some entries at their lowest or highest value."""
        drawn = draws.uniform(*x.shape[1:])
        salted = x.masked_fill(drawn < self.rate, self.high)
        return salted.masked_fill(drawn < self.rate / 2, self.low)

    def check(self, input_shape: tuple[int, ...]) -> None:
        """Refuse a rate beyond 0 and 1.

        Raises:
            ConfigError: It is.
        """
        _require_part(self.rate)

    def extra_repr(self) -> str:
        """The options, for a printed model."""
        return f"rate={self.rate}, low={self.low}, high={self.high}"


class Blocks(Corruption):
    """Covers square blocks of each image, in all its channels, that lie anywhere within it and may overlap.

    Source: Pathak et al. (2016), "Context encoders".

    Args:
        size: Side of a block in pixels.
        count: How many blocks an image gets.
        value: What covers it, in the units of the data.
    """

    def __init__(self, size: int = 8, count: int = 1, value: float = 0.0) -> None:
        super().__init__()
        self.size = size
        self.count = count
        self.value = value

    def forward(self, x: Tensor, draws: Draws) -> Tensor:
        """Images (batch, channels, height, width) with some blocks covered."""
        corners = draws.uniform(self.count, 2)
        rows, columns = (self._along(side, corners[..., i]) for i, side in enumerate(x.shape[-2:]))
        covered = (rows[..., :, None] & columns[..., None, :]).any(1)
        return x.masked_fill(covered[:, None], self.value)

    def check(self, input_shape: tuple[int, ...]) -> None:
        """Refuse options below 1, vectors, and images that are smaller than a block.

        Raises:
            ConfigError: One is.
        """
        _require(self.size >= 1, "size", self.size, "at least 1")
        _require(self.count >= 1, "count", self.count, "at least 1")
        if len(input_shape) != 3 or min(input_shape[1:]) < self.size:
            shape = "×".join(map(str, input_shape))
            raise ConfigError(
                f"blocks of --model.corruption.size {self.size} need images (channels, height, width) with sides of at "
                f"least so many pixels, but a sample of these data is {shape}: lower it, or choose another "
                "--model.corruption"
            )

    def extra_repr(self) -> str:
        """The options, for a printed model."""
        return f"size={self.size}, count={self.count}, value={self.value}"

    def _along(self, side: int, drawn: Tensor) -> Tensor:
        """Which of the pixels along a side blocks cover, (batch, count, side)."""
        first = (drawn * (side - self.size + 1)).long()[..., None]
        places = torch.arange(side, device=drawn.device)
        return (first <= places) & (places < first + self.size)


def _require_part(rate: float) -> None:
    _require(0 <= rate <= 1, "rate", rate, "from 0 to 1")


def _require(is_met: bool, option: str, value: float, what: str) -> None:
    if not is_met:
        raise ConfigError(f"--model.corruption.{option} is {value:g}; it must be {what}")
