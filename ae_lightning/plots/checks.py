"""Arguments of plots, checked."""

from __future__ import annotations

from typing import Any

import numpy as np

from ae_lightning.plots.tiles import Array, to_numpy


def finite_array(name: str, values: Any, ndim: int, shape: str) -> Array:
    """The values as a float32 array.

    Args:
        name: What the values are, in the plural.
        values: An array, or a tensor on any device.
        ndim: Number of dimensions that it must have.
        shape: What these are, such as ``(n, latent)``.

    Raises:
        ValueError: If there are other dimensions, or no values, or one is not finite.
    """
    array = to_numpy(values)
    if array.ndim != ndim:
        raise ValueError(f"{name} must have the shape {shape}, but theirs is {array.shape}")
    if array.size == 0:
        raise ValueError(f"there are no {name}: their shape is {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} must be finite, but {int((~np.isfinite(array)).sum())} of {array.size} are not")
    return array


def fractions(name: str, values: Any, ndim: int, shape: str) -> Array:
    """Finite values within 0 and 1; for the arguments see ``finite_array``.

    Raises:
        ValueError: Also if a value is another one.
    """
    array = finite_array(name, values, ndim, shape)
    if array.min() < 0 or array.max() > 1:
        raise ValueError(f"{name} must lie within 0 and 1, but they reach from {array.min():g} to {array.max():g}")
    return array


def fractions_by_instance(name: str, values: Any, instances: int) -> Array:
    """Values within 0 and 1 as (instances, features): a number, (features,), for all of them or (instances, features).

    There may be no values.

    Raises:
        ValueError: If a value is another one, or the shape.
    """
    given = np.atleast_1d(to_numpy(values))
    if given.size == 0:
        return np.empty((instances, 0))
    if given.ndim > 1 and given.shape[0] != instances:
        raise ValueError(
            f"{name} must have the shape (features,) or ({instances}, features), but theirs is {given.shape}"
        )
    wide = fractions(name, np.atleast_2d(given), 2, "(features,) or (instances, features)")
    return np.broadcast_to(wide, (instances, wide.shape[1]))
