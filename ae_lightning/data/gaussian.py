"""Gaussian data that lie near a random subspace."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ae_lightning.data.base import AutoencoderDataModule, Sets
from ae_lightning.data.in_memory import InMemoryDataset
from ae_lightning.data.loader import seeded_generator
from ae_lightning.errors import ConfigError


class GaussianDataModule(AutoencoderDataModule):
    """Samples ``x = z A + noise · ε`` with z ~ N(0, I_rank), ε ~ N(0, I_dim) and a fixed A.

    The entries of A (rank, dim) are N(0, 1 / rank), so that an entry of x has the variance 1 + noise² on
    average over A. The best linear code with a latent_dim of ``rank`` keeps the row space of A and loses
    the noise outside of it: a mean squared error of noise² (dim − rank) / dim per entry, which no linear
    autoencoder of that width falls below.

    This is the model of probabilistic PCA (Tipping and Bishop 1999) and not scikit-learn's
    ``make_low_rank_matrix``, which factorizes one fixed matrix: that has no distribution to draw fresh
    validation samples from, its entries shrink with the number of samples, and its smallest error is known
    only up to a tail of singular values.

    Args:
        dim: Numbers in a sample.
        rank: Dimension of the subspace, at most ``dim``.
        noise: Standard deviation of the noise in each entry.
        num_train: Training samples.
        num_val: Validation samples.
        num_test: Test samples.
        batch_size: Samples in a training batch, per device.
        eval_batch_size: Samples in a validation or test batch, per device.
        seed: Seed of A and of the samples, not of the training order.
        drop_last: Whether to leave out the last training batch of an epoch if it is smaller.
        device_resident: Whether to keep the samples on the training device, which saves a copy per batch.

    Raises:
        ConfigError: If an option is out of range.
    """

    def __init__(
        self,
        dim: int = 200,
        rank: int = 50,
        noise: float = 0.05,
        num_train: int = 3200,
        num_val: int = 800,
        num_test: int = 800,
        batch_size: int = 256,
        eval_batch_size: int = 1024,
        seed: int = 0,
        drop_last: bool = False,
        device_resident: bool = False,
    ) -> None:
        super().__init__(batch_size, eval_batch_size, seed=seed, drop_last=drop_last, device_resident=device_resident)
        if not 1 <= rank <= dim:
            raise ConfigError(f"--data.rank is {rank}; it must lie between 1 and --data.dim, which is {dim}.")
        if not (math.isfinite(noise) and noise >= 0):
            raise ConfigError(f"--data.noise is {noise:g}; it must be finite and not negative.")
        for option, size in (("num_train", num_train), ("num_val", num_val), ("num_test", num_test)):
            if size < 1:
                raise ConfigError(f"--data.{option} is {size}; it must be at least 1.")
        self.dim = dim
        self.rank = rank
        self.noise = noise
        self.sizes = (num_train, num_val, num_test)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """(dim,)."""
        return (self.dim,)

    @property
    def value_range(self) -> tuple[float, float]:
        """Unbounded."""
        return -math.inf, math.inf

    @property
    def num_classes(self) -> None:
        """There are no classes."""
        return None

    @property
    def mixing(self) -> Tensor:
        """The matrix A, (rank, dim) float32."""
        return torch.randn(self.rank, self.dim, generator=seeded_generator(self.seed, 0)) / self.rank**0.5

    def make_sets(self) -> Sets:
        """Draw each set from its own stream, so that the size of one does not change the others."""
        train, val, test = (self._draw(size, stream) for stream, size in enumerate(self.sizes, start=1))
        return train, val, test

    def _draw(self, size: int, stream: int) -> InMemoryDataset:
        generator = seeded_generator(self.seed, stream)
        z = torch.randn(size, self.rank, generator=generator)
        noise = torch.randn(size, self.dim, generator=generator)
        return InMemoryDataset(z @ self.mixing + self.noise * noise)
