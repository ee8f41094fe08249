"""The best state of each instance of a population, which come at different moments, in one checkpoint."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ae_lightning.models.checkpoint import read_checkpoint


class BestOfEach:
    """The lowest validation loss of each instance so far, and which of them were just reached."""

    def __init__(self) -> None:
        self.losses: list[float] = []  #: Of each instance; none before the first validation.
        self.kept: list[int] = []  #: Instances that were better before the last validation.

    def improves(self, losses: Tensor) -> bool:
        """Take up the losses (instances,) of a validation; whether one is lower than all of its instance before."""
        now = losses.tolist()
        before = self.losses or [math.inf] * len(now)
        better = [new < old for new, old in zip(now, before, strict=True)]
        self.losses = [min(new, old) for new, old in zip(now, before, strict=True)]
        self.kept = [number for number, is_better in enumerate(better) if not is_better]
        return any(better)

    def keep_in(self, checkpoint: dict[str, Any], best: Path) -> None:
        """Put the instances that were better before, from the best checkpoint so far, into one of the newest state.

        Args:
            checkpoint: The newest state, which is changed: weights and other state of these instances, and what the
                optimizer remembers of them.
            best: The file. Where there is none, nothing is better.
        """
        if self.kept and best.is_file():
            earlier = read_checkpoint(best)
            for part in ("state_dict", "optimizer_states"):
                checkpoint[part] = with_instances(checkpoint[part], earlier.get(part, {}), self.kept, len(self.losses))


def with_instances(newest: Any, earlier: Any, which: Sequence[int], instances: int) -> Any:
    """A nested state in which some instances are those of an earlier one; what has no instances first is the newest.

    Args:
        newest: Dictionaries and lists of tensors, and other values.
        earlier: Another of the same form. What it lacks is the newest.
        which: Numbers of the instances to take from it.
        instances: How many there are, at least 2.
    """
    if isinstance(newest, dict) and isinstance(earlier, dict):
        return {
            key: with_instances(value, earlier[key], which, instances) if key in earlier else value
            for key, value in newest.items()
        }
    if isinstance(newest, list) and isinstance(earlier, list) and len(newest) == len(earlier):
        return [with_instances(*pair, which, instances) for pair in zip(newest, earlier, strict=True)]
    if not (isinstance(newest, Tensor) and isinstance(earlier, Tensor) and newest.shape == earlier.shape):
        return newest
    if newest.shape[:1] != (instances,):
        return newest
    places = torch.tensor(which, device=newest.device)
    return newest.index_copy(0, places, earlier.to(newest)[places])
