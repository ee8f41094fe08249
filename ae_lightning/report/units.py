"""The units of a shallow run, those of the first instance: their rows, samples and importance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ae_lightning.analysis.importance import order
from ae_lightning.models.shallow import ShallowAutoencoder
from ae_lightning.nn.modes import evaluation_mode
from ae_lightning.nn.precision import like_weights
from ae_lightning.plots.tiles import is_picture, viewable_shape
from ae_lightning.report.ranking import RankedOn, Ranking
from ae_lightning.run.codes import encode, first_batches
from ae_lightning.run.run import Run
from ae_lightning.run.snapshots import Snapshots

_PANELS = 4
_SAMPLES = 1000
_LIT_SAMPLES = 10_000


def shown_steps(snapshots: Snapshots, asked: Sequence[int] | None) -> list[int]:
    """Snapshots to show side by side: the nearest to those asked for, or up to four, denser at the start."""
    taken = list(snapshots)
    if not taken:
        return []
    wanted: Sequence[float] = asked or []
    if asked is None:
        wanted = [taken[0], *np.geomspace(max(1, taken[-1] / 27), taken[-1], _PANELS - 1)]
    return sorted({snapshots.nearest(round(float(step))) for step in wanted})


class Units:
    """What the figures of a run's units have in common, read when asked for.

    Args:
        run: The run, whose data are set up.
        model: Its model with the weights to show.
        steps: Snapshots to show side by side, as optimizer steps; None chooses up to four, denser at the start.
        ranked_on: Of which samples importance is, see `Ranking`.
    """

    def __init__(self, run: Run, model: ShallowAutoencoder, steps: Sequence[int] | None, ranked_on: RankedOn) -> None:
        self.run = run
        self.model = model
        self.data = run.data
        self._asked = steps
        self._ranked_on: RankedOn = ranked_on

    @property
    def are_pictures(self) -> bool:
        """Whether rows can be looked at, because samples, and what is produced of them, are pictures of one shape."""
        return is_picture(self.model.input_shape) and self.model.output_shape == self.model.input_shape

    @property
    def have_history(self) -> bool:
        """Whether there are weights of several moments."""
        return len(self.run.snapshots) > 1

    @cached_property
    def steps(self) -> list[int]:
        """Snapshots that are shown side by side, in order."""
        return shown_steps(self.run.snapshots, self._asked)

    @property
    def moments_asked_for(self) -> bool:
        """Whether it was said which snapshots to show."""
        return self._asked is not None

    @cached_property
    def ranking(self) -> Ranking:
        """How important units are."""
        return Ranking(self.run, self.model, self.steps, self._ranked_on)

    @property
    def are_summed(self) -> bool:
        """Whether reconstructions are sums over units, without an output activation."""
        return self.model.output_range == (-math.inf, math.inf)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape in which rows are drawn."""
        return viewable_shape(self.model.input_shape)

    def top(self, count: int) -> list[int]:
        """Numbers of the most important units of the trained model, as many as there are up to a count."""
        return order(self.ranking.final)[:count].tolist()

    def first(self, values: Tensor) -> Tensor:
        """Values of the first instance."""
        return values if self.model.instances is None else values[0]

    @cached_property
    def encoder(self) -> Tensor:
        """Encoder rows, (latent, input)."""
        return self.first(self.model.encoder_vectors.detach())

    @cached_property
    def decoder(self) -> Tensor:
        """Decoder rows, (latent, input)."""
        return self.first(self.model.decoder_vectors.detach())

    @cached_property
    def read(self) -> Tensor:
        """Encoder rows as they act on samples in the data's units."""
        return self.first(self.model.reading(self.model.encoder_vectors.detach()))

    @cached_property
    def written(self) -> Tensor:
        """Decoder rows that make reconstructions in the units of `samples`."""
        return self.first(self.model.writing(self.model.decoder_vectors.detach()))

    @cached_property
    def written_bias(self) -> Tensor:
        """What a reconstruction is without any unit, (input,)."""
        return self.first(self.model.written_bias().detach())

    def written_at(self, step: int) -> Tensor:
        """Decoder rows of a snapshot, in the data's units."""
        return self.first(self.model.writing(self.run.snapshots[step]["decoder_vectors"]))

    @cached_property
    def samples(self) -> tuple[Tensor, Tensor]:
        """Test samples (n, input), and their codes (n, latent).

        They are in the data's units, unless each sample is scaled by itself. Where the data have targets they are what
        latents have to make up of these, (n, output).
        """
        if self.model.needs_targets:
            return self._missing()
        x = torch.cat(list(first_batches(self.data.test_set, self.data.eval_batch_size, _SAMPLES)))
        flat = self.model.flatten(x) if self.model.decodes_to_data else self.model.inputs(x)
        return flat[0] if flat.ndim == 3 else flat, encode(self.model, x)[0]

    @torch.no_grad()
    def _missing(self) -> tuple[Tensor, Tensor]:
        """Test targets (n, output) without what the model produces of them past its code, and the codes."""
        x, target = (like_weights(self.model, part) for part in self.model.pair(self.data.test_set.take(_SAMPLES)))
        with evaluation_mode(self.model):
            x_hat, z = self.model(x)
            missing = target - (x_hat - self.model.decode(z))
        return self.first(missing).flatten(1), self.first(z)

    @cached_property
    def lit(self) -> Tensor:
        """Where any training sample differs from the others, (input,)."""
        train = self.data.train_set
        batches = list(first_batches(train, self.data.eval_batch_size, _LIT_SAMPLES))
        flat = [self.model.flatten(x) for x in batches]
        rows = torch.cat([part[0] if part.ndim == 3 else part for part in flat])
        return rows.amax(dim=0) > rows.amin(dim=0)
