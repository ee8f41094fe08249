"""What is lost without a unit, and without the most important ones together, in any layer of a network."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ae_lightning.analysis.importance import ablation_importance, causal_importance, error_by_removal
from ae_lightning.explorer.network import Network

Array = np.ndarray[Any, Any]

_COUNTS = 33
_PIECE = 1024
# Multiplications spent on a network whose units have to be switched off by decoding: some seconds on two cores.
_WORK = 1e11
_FEWEST = 32


@dataclass(frozen=True)
class Removal:
    """Errors without units of a hidden layer, squared errors per pixel, means over samples.

    Args:
        causal: Increase of the error without each unit alone, float64 (units,).
        causal_samples: How many samples that is over.
        counts: Numbers of units removed together, ascending from 0 to all.
        errors: Error without so many of the most important ones.
        samples: How many samples that is over.
    """

    causal: Array
    causal_samples: int
    counts: list[int]
    errors: list[float]
    samples: int


def removal(network: Network, number: int, x: Tensor, order: Tensor) -> Removal:
    """Switch units of a hidden layer off, each alone and the most important ones together.

    Where the layer is followed by one linear layer that is exact and quick; else it is done by decoding, of as many
    samples as there is time for.

    Args:
        network: The network.
        number: Which hidden layer.
        x: Samples (n, input).
        order: Units, the most important first, (units,).
    """
    units = network.layers[number].weight.shape[1]
    counts = sorted({round(float(count)) for count in np.linspace(0, units, min(units + 1, _COUNTS))})
    if number == len(network.hidden) - 1 and network.layers[-1].activation.name == "none":
        return _linear(network, x, order, counts)
    return _decoded(network, number, x, order, counts)


def _linear(network: Network, x: Tensor, order: Tensor, counts: list[int]) -> Removal:
    last = network.layers[-1]
    causal, errors = torch.zeros(last.weight.shape[0], dtype=torch.float64), torch.zeros(len(counts)).double()
    for piece in x.split(_PIECE):  # all codes together can take as much memory as the data
        arguments = (piece, network.outputs(piece)[-2], last.weight, last.bias)
        part = len(piece) / len(x)
        causal += part * causal_importance(*arguments)
        errors += part * error_by_removal(*arguments, order, counts)
    return Removal(causal.numpy(), len(x), counts, errors.tolist(), len(x))


def _decoded(network: Network, number: int, x: Tensor, order: Tensor, counts: list[int]) -> Removal:
    whole = network.outputs(x[:_PIECE])[number]
    active = max(1, int((whole != 0).sum() / len(whole)))
    few = x[: _affordable(network, number, 3 / 4, active)]
    causal = ablation_importance(few, network.outputs(few)[number], partial(network.finish, number))
    many = x[: _affordable(network, number, 1 / 4, len(counts))]
    z = network.outputs(many)[number]
    errors = []
    rank = torch.empty_like(order).scatter_(0, order, torch.arange(len(order)))
    for count in counts:
        x_hat = network.finish(number, z.masked_fill(rank < count, 0))
        errors.append(float((x_hat - many).double().square().mean()))
    return Removal(causal.numpy(), len(few), counts, errors, len(many))


def _affordable(network: Network, number: int, share: float, decodings: int) -> int:
    """How many samples there is time for in a share of a layer's time, each decoded so many times."""
    each = sum(layer.weight.numel() for layer in network.layers[number + 1 :])
    return max(_FEWEST, int(share * _WORK / len(network.hidden) / (each * decodings)))
