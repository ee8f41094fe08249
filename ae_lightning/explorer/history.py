"""The network at some moments of its training."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ae_lightning.errors import ConfigError, RunFolderError
from ae_lightning.explorer.chain import network_of
from ae_lightning.explorer.network import Network
from ae_lightning.explorer.quantize import Rounded, round_earlier, round_final
from ae_lightning.explorer.statistics import importances
from ae_lightning.models.base import Autoencoder
from ae_lightning.run.codes import chosen_moments
from ae_lightning.run.run import Run


@dataclass(frozen=True)
class Moment:
    """A network at a moment of its training, as the page gets it.

    Args:
        step: Optimizer steps completed.
        samples_seen: Training samples seen.
        rounded: Its weights as they are stored, and what the page makes of them.
        importance: Importance of the units of each hidden layer, (units,), of the network before it was rounded.
    """

    step: int
    samples_seen: int
    rounded: Rounded
    importance: list[Tensor]


def moments_with(taken: Sequence[int], final: int, count: int) -> list[int]:
    """So many of the steps taken, spread over their list, and the final one among them.

    Args:
        taken: Steps of the snapshots, ascending.
        final: Step of the checkpoint.
        count: How many at most, at least 1.
    """
    steps = sorted({*taken, final})
    chosen = chosen_moments(steps, count)
    if final not in chosen:
        nearest = min(chosen, key=lambda step: abs(steps.index(step) - steps.index(final)))
        chosen[chosen.index(nearest)] = final
    return sorted(chosen)


def final_moment(network: Network, x: Tensor, step: int, samples_seen: int, importance: list[Tensor]) -> Moment:
    """The checkpoint; x are the samples over which the means of sums are kept, (n, input)."""
    return Moment(step, samples_seen, round_final(network, network.outputs(x), x), importance)


def history(
    run: Run,
    model: Autoencoder,
    instance: int,
    steps: Sequence[int],
    final: Moment,
    x: Tensor,
    note: Callable[[str], None],
) -> Iterator[Moment]:
    """The network at each of these snapshots, in int8 or int16; those that cannot be shown are left out.

    Args:
        run: The run.
        model: Its model.
        instance: Which instance.
        steps: Steps at which snapshots were taken.
        final: The checkpoint, from which differences are taken.
        x: Samples (n, input), over which the means of sums are kept and importance is measured.
        note: Called with a sentence for each snapshot that is left out.
    """
    seen = {entry["step"]: entry["images_seen"] for entry in run.snapshots.index}
    then = copy.deepcopy(model)
    for step in steps:
        try:
            then.restore(run.snapshots[step])
            network = network_of(then, instance)
            if not all(layer.is_finite for layer in network.layers):
                raise ValueError("its weights are not finite")
        except (ValueError, RunFolderError, ConfigError) as error:
            note(f"the snapshot of step {step} is left out: {error}")
            continue
        yield _moment(network, step, seen[step], final, x)


def _moment(network: Network, step: int, samples_seen: int, final: Moment, x: Tensor) -> Moment:
    outputs = network.outputs(x)
    magnitudes = [values.abs().mean(dim=0, dtype=torch.float64) for values in outputs[:-1]]
    rounded = round_earlier(network, outputs, x, final.rounded.weights)
    return Moment(step, samples_seen, rounded, importances(network, magnitudes))
