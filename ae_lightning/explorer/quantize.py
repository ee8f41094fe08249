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

EXCHANGED = 0.01
"""Part of the samples that may be further off where a snapshot's code selects: of two units that nearly tie it may take
the other one."""


@dataclass(frozen=True)
class StoredWeight:
    """A weight as the file holds it.

    Args:
        stored: float32, float16, or int8 or int16 to be multiplied by the scale of its row, (rows, columns).
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


def float32(rows: Array) -> StoredWeight:
    """A weight (rows, columns) as it is."""
    return StoredWeight(rows, None, False, rows)


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
    return _near(rows, final, np.int8)


def round_final(network: Network, outputs: Sequence[Tensor], x: Tensor) -> Rounded:
    """The final network in float16, or in int16 where that is not exact enough; sums that select stay as they are.

    Args:
        network: The network as it was trained.
        outputs: What its layers give of the samples, as `Network.outputs`.
        x: Samples (n, input), over which errors are looked at and means are kept.
    """
    weights = [float32(rows) if selects else float16(rows) for rows, selects in _rows(network)]
    return _exact_enough(weights, FINAL_ERROR, 0.0, network, outputs, x)


def round_earlier(network: Network, outputs: Sequence[Tensor], x: Tensor, final: Sequence[StoredWeight]) -> Rounded:
    """The network of a snapshot in int8, or in int16 where that is not exact enough.

    Sums that select have int16, or float32 where that is not exact enough.

    Args:
        network: The network as it was.
        outputs: What its layers give of the samples, as `Network.outputs`.
        x: Samples (n, input), over which errors are looked at and means are kept.
        final: The weights of the final network.
    """
    weights = [
        _near(rows, last.values, np.int16 if selects else np.int8)
        for (rows, selects), last in zip(_rows(network), final, strict=True)
    ]
    return _exact_enough(weights, EARLIER_ERROR, EXCHANGED if network.selects else 0.0, network, outputs, x)


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
    weights: list[StoredWeight], error: float, astray: float, network: Network, outputs: Sequence[Tensor], x: Tensor
) -> Rounded:
    """These weights, or finer ones where more than a part of all reconstructions would be further off than `error`."""
    rounded = corrected(network, weights, outputs, x)
    off = (rounded.outputs(x)[-1] - outputs[-1]).abs().amax(dim=1)
    near = off <= error * max(1.0, float(x.std(correction=0)))  # NaN, of numbers too large, is too far off as well
    if int((~near).sum()) > astray * len(x):
        weights = [float32(rows) if selects else int16(rows) for rows, selects in _rows(network)]
        rounded = corrected(network, weights, outputs, x)
    return Rounded(weights, rounded)


def _rows(network: Network) -> list[tuple[Array, bool]]:
    """The weight of each layer as it is stored, and whether its sums select."""
    return [(network.rows(number).numpy(), layer.activation.selects) for number, layer in enumerate(network.layers)]


def _near(rows: Array, final: Array, dtype: type[np.int8] | type[np.int16]) -> StoredWeight:
    choices = [_scaled(rows, None, dtype), _scaled(rows - final, final, dtype)]
    return min(choices, key=lambda choice: float(np.square(choice.values - rows).sum(dtype=np.float64)))


def _scaled(rows: Array, base: Array | None, dtype: type[np.int8] | type[np.int16]) -> StoredWeight:
    largest = np.iinfo(dtype).max
    scale = (np.abs(rows).max(axis=1, initial=0) / largest).astype(np.float32)
    stored = np.rint(rows / np.where(scale > 0, scale, 1)[:, None]).clip(-largest, largest).astype(dtype)
    values = stored.astype(np.float32) * scale[:, None]
    return StoredWeight(stored, scale, base is not None, values if base is None else values + base)


def _mean_sum(x: Tensor, weight: Tensor) -> Tensor:
    return x.mean(dim=0, dtype=torch.float64) @ weight.double()
