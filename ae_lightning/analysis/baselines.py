"""What an autoencoder must beat: always answering the mean image, and principal components of the same width.

Samples have the shape (n, ...) and are given as tensors or arrays, uint8 or float. Errors are squared errors
*per pixel*: the mean over images and pixels, in the units of the samples, squared. Sums are accumulated in
float64.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ae_lightning.analysis.pca import Array, as_rows, chunks, fit_pca, mean_row


def mean_image_error(train_x: Any, test_x: Any) -> float:
    """Error of always answering the mean of the training images: the variance that is there to explain.

    Args:
        train_x: Training samples of shape (n, ...).
        test_x: Test samples of shape (m, ...).

    Returns:
        Squared error per pixel, mean over images and pixels.

    Raises:
        ValueError: If a set is empty, or the two differ in the number of pixels.
    """
    train, test = _same_width(train_x, test_x)
    mean = mean_row(train)
    return sum(_sum_of_squares(chunk - mean) for chunk in chunks(test)) / test.size


def pca_error(train_x: Any, test_x: Any, n_components: int) -> float:
    """Error of reconstructing from the leading principal components of the training set.

    No linear code of this width has a smaller error on the training set (Eckart and Young 1936), which makes
    it the bar for an autoencoder with a bottleneck. PCA as wide as the input is exact, with an error of 0 but
    for rounding, so it is no bar for an overcomplete code.

    Args:
        train_x: Training samples of shape (n, ...).
        test_x: Test samples of shape (m, ...).
        n_components: Width of the code, capped at what the data have; 0 is the mean image.

    Returns:
        Squared error per pixel, mean over images and pixels.

    Raises:
        ValueError: If a set is empty, the two differ in the number of pixels, ``n_components`` is negative,
            or a training sample is not finite.
    """
    train, test = _same_width(train_x, test_x)
    if n_components == 0:
        return mean_image_error(train, test)
    pca = fit_pca(train, n_components)
    error = sum(_sum_of_squares(chunk - pca.decode(pca.encode(chunk))) for chunk in chunks(test))
    return error / test.size


def pca_codes(train_x: Any, x: Any, n_components: int) -> Array:
    """Codes on the leading principal components of the training set, strongest first.

    Args:
        train_x: Training samples of shape (n, ...).
        x: Samples to encode, of shape (m, ...).
        n_components: Width of the code, at least 1, capped at min(n, d).

    Returns:
        float32 array of shape (m, min(n_components, n, d)).

    Raises:
        ValueError: If a set is empty, the two differ in the number of pixels, ``n_components`` is less than
            1, or a training sample is not finite.
    """
    train, rows = _same_width(train_x, x)
    return fit_pca(train, n_components).encode(rows)


def _same_width(train_x: Any, x: Any) -> tuple[Array, Array]:
    train, rows = as_rows(train_x), as_rows(x)
    if train.shape[1] != rows.shape[1]:
        raise ValueError(f"training samples have {train.shape[1]} features, but the others have {rows.shape[1]}")
    return train, rows


def _sum_of_squares(differences: Array) -> float:
    return float(np.square(differences).sum(dtype=np.float64))
