"""Weights in fewer bits, with biases that make up for what the rounding does to the mean of each unit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ae_lightning.explorer.network import DenseLayer, Network

Array = np.ndarray[Any, Any]

FINAL_ERROR = 1e-3
"""How far a reconstruction of the final network may be from that of the one that was trained, in units of the data's
standard deviation, or of 1 if that is smaller."""

EARLIER_ERROR = 2e-2
"""The same for the networks of snapshots."""


@dataclass(frozen=True)
class StoredWeight:
    """A weight as the file holds it.

    Args:
        stored: float16, or int8 or int16 to be multiplied by the scale of its row, (rows, columns).
        scale: float32 (rows,), or None where the numbers are meant as they are.
        is_relative: Whether the final weight is to be added.
        values: What the page makes of it, float32 (rows, columns).
    """

    stored: Array
    scale: Array | None
    is_relative: bool
    values: Array


@dataclass(frozen=True)
class Rounded:
    """A network in fewer bits: its weights as they are stored, and what the page makes of it."""

    weights: list[StoredWeight]
    network: Network


def float16(rows: Array) -> StoredWeight:
    """A weight (rows, columns) in float16; numbers that are too large for it become infinite."""
    with np.errstate(over="ignore"):
        stored = rows.astype(np.float16)
    return StoredWeight(stored, None, False, stored.astype(np.float32))


def int16(rows: Array) -> StoredWeight:
    """A weight (rows, columns) in int16 with a scale for each row: eight times as exact as float16, and larger."""
    return _scaled(rows, None, np.int16)


def int8(rows: Array, final: Array) -> StoredWeight:
    """A weight in int8 with a scale for each row: the weight itself or its difference from the final one.

    Args:
        rows: The weight (rows, columns).
        final: The final weight as the page has it, float32 (rows, columns).

    Returns:
        Of the two the one with the smaller squared error.
    """
    choices = [_scaled(rows, None, np.int8), _scaled(rows - final, final, np.int8)]
    return min(choices, key=lambda choice: float(np.square(choice.values - rows).sum(dtype=np.float64)))


def round_final(network: Network, outputs: Sequence[Tensor], x: Tensor) -> Rounded:
    """The final network in float16, or in int16 where that is not exact enough.

    Args:
        network: The network as it was trained.
        outputs: What its layers give of the samples, as `Network.outputs`.
        x: Samples (n, input), over which errors are looked at and means are kept.
    """
    weights = [float16(rows) for rows in _rows(network)]
    return _exact_enough(weights, FINAL_ERROR, network, outputs, x)


def round_earlier(network: Network, outputs: Sequence[Tensor], x: Tensor, final: Sequence[StoredWeight]) -> Rounded:
    """The network of a snapshot in int8, or in int16 where that is not exact enough.

    Args:
        network: The network as it was.
        outputs: What its layers give of the samples, as `Network.outputs`.
        x: Samples (n, input), over which errors are looked at and means are kept.
        final: The weights of the final network.
    """
    weights = [int8(rows, last.values) for rows, last in zip(_rows(network), final, strict=True)]
    return _exact_enough(weights, EARLIER_ERROR, network, outputs, x)


def corrected(network: Network, weights: Sequence[StoredWeight], outputs: Sequence[Tensor], x: Tensor) -> Network:
    """The network with rounded weights, and biases by which each sum has the mean over samples that it had.

    Rounding moves what a unit sums up by a constant and by something that varies from sample to sample; on images,
    where pixels are dark or bright together, the constant is the larger part. Layer by layer from the input on:
    b' = b + mean(h)·W − mean(h')·W', where h' is what the rounded layers before give.

    Args:
        network: The network as it was trained.
        weights: Its weights as they are stored, one for each layer.
        outputs: What its layers give of the samples, as `Network.outputs`.
        x: Samples (n, input).
    """
    layers: list[DenseLayer] = []
    true, rounded = x, x
    for number, (layer, weight, output) in enumerate(zip(network.layers, weights, outputs, strict=True)):
        values = torch.from_numpy(weight.values)
        values = values.T if number == 0 else values
        moved = _mean_sum(true, layer.weight) - _mean_sum(rounded, values)
        layers.append(replace(layer, weight=values, bias=(layer.bias.double() + moved).float()))
        true = output
        if number < len(weights) - 1:
            rounded = layers[-1](rounded)
    return Network(tuple(layers))


def _exact_enough(
    weights: list[StoredWeight], error: float, network: Network, outputs: Sequence[Tensor], x: Tensor
) -> Rounded:
    """These weights, or int16 where a reconstruction would be further off than `error`."""
    rounded = corrected(network, weights, outputs, x)
    off = (rounded.outputs(x)[-1] - outputs[-1]).abs().max()
    if not off <= error * max(1.0, float(x.std(correction=0))):  # NaN, of numbers too large, is too far off as well
        weights = [int16(rows) for rows in _rows(network)]
        rounded = corrected(network, weights, outputs, x)
    return Rounded(weights, rounded)


def _rows(network: Network) -> list[Array]:
    return [network.rows(number).numpy() for number in range(len(network.layers))]


def _scaled(rows: Array, base: Array | None, dtype: type[np.int8] | type[np.int16]) -> StoredWeight:
    largest = np.iinfo(dtype).max
    scale = (np.abs(rows).max(axis=1, initial=0) / largest).astype(np.float32)
    stored = np.rint(rows / np.where(scale > 0, scale, 1)[:, None]).clip(-largest, largest).astype(dtype)
    values = stored.astype(np.float32) * scale[:, None]
    return StoredWeight(stored, scale, base is not None, values if base is None else values + base)


def _mean_sum(x: Tensor, weight: Tensor) -> Tensor:
    return x.mean(dim=0, dtype=torch.float64) @ weight.double()
