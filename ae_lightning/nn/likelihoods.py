"""Likelihoods log p(x|z): what a decoder's outputs say of a sample, as a distribution over its pixels.

Pixels are independent given the code, and log-densities are sums over a sample's pixels, in nats. A continuous
likelihood is a density: its logarithm may be positive, and changes with the units of the data.
"""

import math
from abc import ABC, abstractmethod
from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from ae_lightning.errors import ConfigError
from ae_lightning.nn.precision import at_least_float32

LikelihoodName = Literal["bernoulli", "gaussian", "learned_gaussian", "continuous_bernoulli"]
"""Pixels that are 0 or 1 (or probabilities of 1); real numbers with one standard deviation for all; real numbers with a
standard deviation that the decoder gives of each; numbers within [0, 1]."""

#: Lowest standard deviation that a decoder can learn; without one, a pixel that never varies has an infinite density.
LEAST_STD = 0.01
# Logits nearer to 0 take the series of the continuous Bernoulli: in float32 a quotient of two zeros stands there.
_NEAR = 0.3


class Likelihood(ABC):
    """A distribution over pixels, each with parameters that a decoder gives.

    Shapes: outputs (batch, `outputs_per_pixel` × channels, …), samples x (batch, channels, …).
    """

    #: Numbers that the decoder gives for each pixel; they lie one after another along dim 1.
    outputs_per_pixel: int = 1
    #: Lowest and highest value that the mean can take.
    output_range: tuple[float, float] = (-math.inf, math.inf)
    #: Whether samples must lie within `output_range`.
    is_bounded: bool = False
    #: What it is called in a message.
    title: str

    @abstractmethod
    def mean(self, outputs: Tensor) -> Tensor:
        """Expected sample (batch, channels, …)."""

    @abstractmethod
    def log_densities(self, outputs: Tensor, x: Tensor) -> Tensor:
        """Logarithm of each pixel's density in nats, shaped as x."""

    def log_density(self, outputs: Tensor, x: Tensor) -> Tensor:
        """Logarithm of a sample's density in nats (batch,), in float32 or wider: sum over its pixels."""
        outputs = at_least_float32(outputs)
        return self.log_densities(outputs, x.to(outputs.dtype)).flatten(1).sum(1)


class Bernoulli(Likelihood):
    """Pixels that are 1 with probability sigmoid(output). A gray pixel counts as the mean of as many black and white.

    Of data that are not binary the value is a cross-entropy, and no density.
    """

    output_range = (0.0, 1.0)
    is_bounded = True
    title = "Bernoulli"

    def mean(self, outputs: Tensor) -> Tensor:
        """Probability of a 1."""
        return outputs.sigmoid()

    def log_densities(self, outputs: Tensor, x: Tensor) -> Tensor:
        """That is x log p + (1 − x) log(1 − p), from logits."""
        return -F.binary_cross_entropy_with_logits(outputs, x, reduction="none")


class Gaussian(Likelihood):
    """Normal pixels about the output, all with one standard deviation.

    Args:
        std: The standard deviation, in the units of the data.
    """

    title = "Gaussian"

    def __init__(self, std: float) -> None:
        self.std = std
        self._constant = math.log(std) + 0.5 * math.log(2 * math.pi)

    def mean(self, outputs: Tensor) -> Tensor:
        """The output itself."""
        return outputs

    def log_densities(self, outputs: Tensor, x: Tensor) -> Tensor:
        """−(x − output)² / 2σ² − log σ − ½ log 2π."""
        return -0.5 * ((x - outputs) / self.std).square() - self._constant


class LearnedGaussian(Likelihood):
    """Normal pixels, of which the decoder gives the mean and what makes the standard deviation, at least `LEAST_STD`.

    The variance is σ²_least + softplus(output), so that no pixel's density grows without bound.
    """

    outputs_per_pixel = 2
    title = "Gaussian"

    def mean(self, outputs: Tensor) -> Tensor:
        """The first half of the outputs."""
        return outputs.chunk(2, 1)[0]

    def variance(self, outputs: Tensor) -> Tensor:
        """Variance of each pixel, shaped as a sample."""
        return F.softplus(outputs.chunk(2, 1)[1]) + LEAST_STD**2

    def log_densities(self, outputs: Tensor, x: Tensor) -> Tensor:
        """−(x − mean)² / 2σ² − log σ − ½ log 2π."""
        variance = self.variance(outputs)
        squares = (x - self.mean(outputs)).square() / variance
        return -0.5 * (squares + variance.log() + math.log(2 * math.pi))


class ContinuousBernoulli(Likelihood):
    """Pixels anywhere within [0, 1] with density C(λ) λˣ (1 − λ)¹⁻ˣ, λ = sigmoid(output): Bernoulli's, normalized.

    In terms of the logit l, C is l / tanh(l/2), and the mean 1 / (1 − e⁻ˡ) − 1 / l.

    Source: Loaiza-Ganem and Cunningham (2019), "The continuous Bernoulli", arXiv 1907.06845.
    """

    output_range = (0.0, 1.0)
    is_bounded = True
    title = "continuous Bernoulli"

    def mean(self, outputs: Tensor) -> Tensor:
        """Expected pixel, which is nearer to ½ than λ is."""
        near, apart = self._split(outputs)
        series = 0.5 + outputs / 12 - outputs**3 / 720 + outputs**5 / 30240
        return torch.where(near, series, 1 / -torch.expm1(-apart) - 1 / apart)

    def log_densities(self, outputs: Tensor, x: Tensor) -> Tensor:
        """That is log C + x log λ + (1 − x) log(1 − λ), from logits."""
        near, apart = self._split(outputs)
        squared = outputs.square()
        series = math.log(2) + squared / 12 - 7 * squared**2 / 1440 + 31 * squared**3 / 90720
        log_c = torch.where(near, series, (apart / (apart / 2).tanh()).log())
        return log_c - F.binary_cross_entropy_with_logits(outputs, x, reduction="none")

    @staticmethod
    def _split(outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Which logits are near 0; and the logits with others in their place, whose gradient is a number."""
        near = outputs.abs() < _NEAR
        return near, torch.where(near, 1.0, outputs)


def likelihood_of(name: LikelihoodName, std: float = 1.0) -> Likelihood:
    """The likelihood called `name`.

    Args:
        name: bernoulli, gaussian, learned_gaussian or continuous_bernoulli.
        std: Standard deviation of `gaussian`.

    Raises:
        ConfigError: There is none of that name, or the standard deviation is not above 0.
    """
    if name not in get_args(LikelihoodName):
        raise ConfigError(f"--model.likelihood is {name!r}; it can be {', '.join(get_args(LikelihoodName))}")
    if name == "gaussian":
        if not (std > 0 and math.isfinite(std)):
            raise ConfigError(f"--model.std is {std:g}; a standard deviation must be above 0")
        return Gaussian(std)
    return {"bernoulli": Bernoulli, "learned_gaussian": LearnedGaussian}.get(name, ContinuousBernoulli)()
