"""How important the units of a shallow run are, at the moments of its training and in the end."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Literal

import torch
from torch import Tensor

from ae_lightning.analysis.importance import order, unit_importance
from ae_lightning.models.shallow import ShallowAutoencoder
from ae_lightning.run.codes import at_snapshots, chosen_moments, encode, first_batches
from ae_lightning.run.run import Run

RankedOn = Literal["test", "train"]
"""Of which samples the mean activations are taken."""

SAMPLES: dict[RankedOn, int] = {"test": 1000, "train": 5000}
"""How many of them, the first ones. The overcomplete experiment has 5,000 training images."""


class Ranking:
    """Importance of the units, ‖encoder row‖ · mean activation · ‖decoder row‖; of instances, the first.

    Args:
        run: The run, whose data are set up.
        model: Its model with the final weights.
        steps: Snapshots that are to be among the moments.
        on: Of which samples the mean activation is taken.
    """

    def __init__(self, run: Run, model: ShallowAutoencoder, steps: Sequence[int], on: RankedOn = "test") -> None:
        self._run = run
        self._model = model
        self._steps = steps
        self._on = on

    @cached_property
    def moments(self) -> list[int]:
        """Snapshots at which importance is known."""
        return sorted({*chosen_moments(list(self._run.snapshots)), *self._steps})

    @cached_property
    def final(self) -> Tensor:
        """Importance of each unit in the end, (latent,)."""
        return self._importance(self._model)

    @cached_property
    def history(self) -> Tensor:
        """Importance of each unit at each of the moments, (moments, latent)."""
        models = at_snapshots(self._model, self._run.snapshots, self.moments)
        return torch.stack([self._importance(model) for _, model in models])

    def at(self, step: int) -> Tensor:
        """Importance of each unit at the moment nearest to a step, (latent,)."""
        return self.history[min(range(len(self.moments)), key=lambda place: abs(self.moments[place] - step))]

    def top_at(self, step: int, count: int) -> Tensor:
        """Numbers of the most important units of that moment, (count,)."""
        return order(self.at(step))[:count]

    @property
    def samples(self) -> str:
        """What the mean activations are taken of, in words."""
        return f"{len(self._x):,} {'training' if self._on == 'train' else 'test'} samples"

    @cached_property
    def _x(self) -> Tensor:
        data = self._run.data
        samples = data.train_set if self._on == "train" else data.test_set
        return torch.cat(list(first_batches(samples, data.eval_batch_size, SAMPLES[self._on])))

    def _importance(self, model: ShallowAutoencoder) -> Tensor:
        vectors = (model.encoder_vectors.detach(), model.decoder_vectors.detach())
        encoder, decoder = (part if model.instances is None else part[0] for part in vectors)
        return unit_importance(encoder, decoder, encode(model, self._x)[0].abs().mean(dim=0))
