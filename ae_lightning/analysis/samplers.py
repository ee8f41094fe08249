"""Where random codes come from: a prior, a normal, a mixture of Gaussians, or the codes of samples, entry by entry.

All draw on the CPU, leave PyTorch's global random numbers alone, and give the same codes for the same seed.
scikit-learn fits the mixture and is imported on first use.
"""

from __future__ import annotations

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ae_lightning.analysis.pca import Array, as_rows

# Draws made at once.
_BATCH = 512
# A full covariance of so many numbers is refined in seconds; the time grows with their square.
MOST_IN_MIXTURE = 256
_MOST_ITERATIONS = 200


class Sampler(ABC):
    """What draws random codes, for a decoder to make samples of.

    Attributes:
        description: What codes are drawn from, in words that go on after "codes from".
    """

    description: str

    @abstractmethod
    def draw(self, n: int, seed: int = 0) -> Tensor:
        """Draw codes.

        Args:
            n: How many, at least 1.
            seed: Seed of the draws.

        Returns:
            Shape (n, *latent_shape), float32; of discrete codes indices, int64.

        Raises:
            ValueError: `n` is less than 1.
        """


class StandardNormal(Sampler):
    """Each number of a code from a normal of mean 0 and variance 1: the prior of a variational autoencoder.

    Args:
        shape: Shape of one code.

    Example:
        >>> StandardNormal((4, 2)).draw(3, seed=1).shape
        torch.Size([3, 4, 2])
    """

    description = "the model's prior, a standard normal"

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = tuple(shape)

    def draw(self, n: int, seed: int = 0) -> Tensor:
        """Draw codes (n, *shape)."""
        generator = torch.Generator().manual_seed(seed)
        return torch.cat([torch.randn(size, *self.shape, generator=generator) for size in _sizes(n)])


class FittedNormal(Sampler):
    """The normal that has the mean and the full covariance of given codes.

    A draw is the mean plus a random mixture of the centered codes, so that the covariance, which for wide codes is
    larger than the codes, is never formed. It never leaves the space that the given codes span.

    Args:
        codes: Codes (m, *latent_shape) with m at least 2.

    Raises:
        ValueError: There are fewer than 2 codes, or a code is not finite.
    """

    def __init__(self, codes: Tensor) -> None:
        rows = torch.from_numpy(code_rows(codes))
        self._shape = codes.shape[1:]
        self._mean = rows.mean(dim=0)
        self._mixed = (rows - self._mean) / (len(rows) - 1) ** 0.5
        self.description = f"a normal with the mean and covariance of {len(rows):,} training codes"

    def draw(self, n: int, seed: int = 0) -> Tensor:
        """Draw codes (n, *latent_shape)."""
        generator = torch.Generator().manual_seed(seed)
        draws = [torch.randn(size, len(self._mixed), generator=generator) @ self._mixed for size in _sizes(n)]
        return (self._mean + torch.cat(draws)).reshape(n, *self._shape)


class GaussianMixture(Sampler):
    """A mixture of Gaussians of full covariances, fitted to given codes by scikit-learn.

    Before the fit the codes are divided by one number, their root mean square about the mean, so that what scikit-learn
    adds to each variance, 1e-6, is small beside them. A density fitted to the codes of a trained autoencoder is that of
    Ghosh et al. (2020), "From Variational to Deterministic Autoencoders".

    Args:
        codes: Codes (m, *latent_shape), of at most 256 numbers.
        components: Number of Gaussians, at most m.

    Raises:
        ValueError: There are too few codes, they are too wide, or one is not finite.
    """

    def __init__(self, codes: Tensor, components: int = 10) -> None:
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture as Mixture

        rows = code_rows(codes).astype(np.float64)
        if not 1 <= components <= len(rows):
            raise ValueError(f"a mixture of {components:,} Gaussians needs as many codes, but there are {len(rows):,}")
        if rows.shape[1] > MOST_IN_MIXTURE:
            raise ValueError(
                f"a code of {_product(codes.shape[1:])} numbers is too large for full covariances, which take at most "
                f"{MOST_IN_MIXTURE} numbers"
            )
        self._shape = codes.shape[1:]
        center = rows.mean(axis=0)
        scale = float(np.sqrt(np.square(rows - center).mean())) or 1.0
        mixture = Mixture(components, max_iter=_MOST_ITERATIONS, random_state=0)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", ConvergenceWarning)
            mixture.fit((rows - center) / scale)
        self.converged = not any(issubclass(warning.category, ConvergenceWarning) for warning in caught)
        self._weights = torch.from_numpy(mixture.weights_)
        self._means = torch.from_numpy(mixture.means_ * scale + center)
        self._factors = torch.linalg.cholesky(torch.from_numpy(mixture.covariances_ * scale**2))
        gaussians = f"{components:,} Gaussian{'s' * (components > 1)}"
        of = f"fitted to {len(rows):,} training codes"
        self.description = f"a mixture of {gaussians} {of}{'' if self.converged else ', which has not converged'}"

    def draw(self, n: int, seed: int = 0) -> Tensor:
        """Draw codes (n, *latent_shape), of the components in random order."""
        generator = torch.Generator().manual_seed(seed)
        return torch.cat([self._some(size, generator) for size in _sizes(n)]).reshape(n, *self._shape)

    def _some(self, n: int, generator: torch.Generator) -> Tensor:
        chosen = torch.multinomial(self._weights, n, replacement=True, generator=generator)
        rows = torch.randn(n, self._means.shape[1], generator=generator, dtype=torch.float64)
        for component in chosen.unique().tolist():
            own = chosen == component
            rows[own] = self._means[component] + rows[own] @ self._factors[component].T
        return rows.float()


class Empirical(Sampler):
    """Each entry of a code as often as it occurs in given codes, whatever the other entries are.

    Of discrete codes an entry is an index into a codebook, and each position has frequencies of its own. Of continuous
    codes it is a number, the one that the latent has on a training sample of its own: a sparse code stays sparse.

    Args:
        codes: What is drawn from, (m, *shape): codes, or indices int64.

    Raises:
        ValueError: A number is not finite.
    """

    def __init__(self, codes: Tensor) -> None:
        if not codes.isfinite().all():
            raise ValueError("codes must be finite, but some are NaN or infinite")
        self._rows = torch.from_numpy(as_rows(codes))
        self._shape = codes.shape[1:]
        what = "values of each latent" if codes.is_floating_point() else "frequencies of indices at each position"
        self.description = f"the {what} in {len(codes):,} training codes"

    def draw(self, n: int, seed: int = 0) -> Tensor:
        """Draw codes (n, *shape), of the type of those that were given."""
        generator = torch.Generator().manual_seed(seed)
        return torch.cat([self._some(size, generator) for size in _sizes(n)]).reshape(n, *self._shape)

    def _some(self, n: int, generator: torch.Generator) -> Tensor:
        return self._rows.gather(0, torch.randint(len(self._rows), (n, self._rows.shape[1]), generator=generator))


def code_rows(codes: Any) -> Array:
    """Codes (n, *latent_shape) as float32 rows (n, width), of which there must be two to say how codes vary.

    Raises:
        ValueError: There are fewer than 2 codes, or a code is not finite.
    """
    rows = as_rows(codes.float() if isinstance(codes, Tensor) else codes).astype(np.float32, copy=False)
    if len(rows) < 2:
        raise ValueError(f"at least 2 codes are needed to say how codes vary, but there is {len(rows)}")
    if not np.isfinite(rows).all():
        raise ValueError("codes must be finite, but some are NaN or infinite")
    return rows


def _sizes(n: int) -> Iterator[int]:
    if n < 1:
        raise ValueError(f"n must be at least 1, but is {n}")
    return (min(_BATCH, n - start) for start in range(0, n, _BATCH))


def _product(shape: tuple[int, ...]) -> str:
    """A shape and how many numbers it has: 64×3×3 = 576."""
    total = f"{math.prod(shape):,}"
    return total if len(shape) == 1 else f"{'×'.join(map(str, shape))} = {total}"
