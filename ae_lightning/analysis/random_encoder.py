"""What a trained encoder must beat: a random one of the same shape, with the best linear decoder.

Whatever of the error goes away with random features was no achievement of training the encoder.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args

import numpy as np
import torch
from torch import Tensor

from ae_lightning.analysis.pca import Array, as_rows, chunks, mean_row

_FIT_SAMPLES = 20_000
_FIT_NUMBERS = 1 << 26
_RIDGE = 1e-10

RandomActivation = Literal["relu", "none"]


class RandomEncoder:
    """A random encoder, and the linear decoder, of samples or of targets, that is fitted to it by least squares.

    The code is z = activation(W (x − mean)), with the mean of the training set and W uniform within ±1/√input, as
    `torch.nn.Linear` draws it; as the encoder has no bias, the scale of W does not matter. The decoder, with a bias,
    minimizes the squared error on training samples: on all, or on some drawn without replacement.

    The decoder D solves the normal equations (C + λI) D = B in float64, by Cholesky, where C is the covariance of
    the codes and B that of codes and samples. The ridge λ is 1e-10 of the mean variance of a latent, too little to
    change a solution that is unique. Where it is not (more latents than samples, or than pixels without an
    activation), the ridge picks the one of the smallest norm, as ``numpy.linalg.lstsq`` does.

    Codes are made chunk by chunk, so that the extra memory is a few hundred MB at 1,024 latents, however many
    samples there are.

    Args:
        mean: Mean of the training set, (input,).
        latent_dim: Width of the code.
        seed: Of the weights, and of the draw of training samples. torch's global generator is left alone.
        activation: Activation of the code.

    Raises:
        ValueError: The mean is not finite, ``latent_dim`` is less than 1, or the activation is another one.
    """

    def __init__(self, mean: Array, latent_dim: int, seed: int = 0, activation: RandomActivation = "relu") -> None:
        if latent_dim < 1:
            raise ValueError(f"latent_dim must be at least 1, but is {latent_dim}")
        if activation not in get_args(RandomActivation):
            raise ValueError(f"activation must be one of {', '.join(get_args(RandomActivation))}, but is {activation}")
        self._generator = torch.Generator().manual_seed(seed)
        width = len(mean)
        weight = torch.empty(latent_dim, width, dtype=torch.float64)
        self._weight = weight.uniform_(-1, 1, generator=self._generator) / width**0.5
        self._center = torch.from_numpy(_finite(mean)).double()
        self._rectified = activation == "relu"
        self._decoder = torch.zeros(latent_dim, width, dtype=torch.float64)
        self._bias = torch.zeros(width, dtype=torch.float64)

    def drawn(self, n: int) -> Tensor:
        """Rows, of n training samples, that the decoder is to be fitted on: all, or 2²⁶ numbers, 20,000 at most."""
        most = max(1, min(_FIT_SAMPLES, _FIT_NUMBERS // len(self._center)))
        return torch.randperm(n, generator=self._generator)[:most] if n > most else torch.arange(n)

    def fit(self, rows: Array, targets: Array | None = None) -> None:
        """Fit the decoder to training samples (n, input), or to what is to be produced of them (n, output)."""
        code_sum, x_sum = (torch.zeros((), dtype=torch.float64) for _ in range(2))
        # The means come first: subtracted from finished sums of products, they would take digits with them.
        for code, x in self._pairs(rows, targets):
            code_sum = code_sum + code.sum(dim=0)
            x_sum = x_sum + x.sum(dim=0)
        code_mean, x_mean = code_sum / len(rows), x_sum / len(rows)
        gram = torch.zeros(len(code_mean), len(code_mean), dtype=torch.float64)
        cross = torch.zeros(len(code_mean), len(x_mean), dtype=torch.float64)
        for code, x in self._pairs(rows, targets):
            code -= code_mean
            gram.addmm_(code.T, code)
            cross.addmm_(code.T, x)
        # Codes that do not vary at all have a Gram matrix of zeros, and any ridge gives them weights of zero.
        gram.diagonal().add_(_RIDGE * float(gram.diagonal().mean()) or 1.0)
        self._decoder = torch.cholesky_solve(cross, torch.linalg.cholesky(gram))
        self._bias = x_mean - code_mean @ self._decoder

    def squared_error(self, rows: Array, targets: Array | None = None) -> float:
        """Squared error on samples (n, input), or on targets (n, output), the sum over these and their entries."""
        pairs = self._pairs(rows, targets)
        return sum(float((x - code @ self._decoder - self._bias).square().sum()) for code, x in pairs)

    def _pairs(self, rows: Array, targets: Array | None) -> Iterator[tuple[Tensor, Tensor]]:
        """Codes, and centered samples or targets, in float64, some thousand at a time."""
        start = 0
        for chunk in chunks(rows):
            centered = torch.from_numpy(chunk.astype(np.float64)).sub_(self._center)
            code = centered @ self._weight.T
            code = code.relu_() if self._rectified else code
            end = start + len(chunk)
            yield code, centered if targets is None else torch.from_numpy(targets[start:end].astype(np.float64))
            start = end


def random_encoder_error(
    train_x: Any, test_x: Any, latent_dim: int, seed: int = 0, activation: RandomActivation = "relu"
) -> float:
    """Error of a random, untrained encoder whose decoder is fitted by least squares; see `RandomEncoder`.

    Args:
        train_x: Training samples of shape (n, ...), tensor or array, uint8 or float.
        test_x: Test samples of shape (m, ...).
        latent_dim: Width of the code.
        seed: Of the weights, and of the draw of training samples. torch's global generator is left alone.
        activation: Activation of the code.

    Returns:
        Squared error per pixel on the test set, mean over samples and pixels, in squared units of the samples.

    Raises:
        ValueError: If a set is empty or has a sample that is not finite, the two differ in the number of pixels,
            ``latent_dim`` is less than 1, or the activation is another one.
    """
    train, test = as_rows(train_x), as_rows(test_x)
    if train.shape[1] != test.shape[1]:
        raise ValueError(f"training samples have {train.shape[1]} features, but the others have {test.shape[1]}")
    _finite(mean_row(test))
    encoder = RandomEncoder(mean_row(train), latent_dim, seed, activation)
    encoder.fit(train[encoder.drawn(len(train)).numpy()])
    return encoder.squared_error(test) / test.size


def _finite(mean: Array) -> Array:
    if not np.isfinite(mean).all():
        raise ValueError("a random encoder needs finite samples, but some are NaN or infinite")
    return mean
