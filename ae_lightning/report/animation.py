"""The course of a training in the plane, a frame for each snapshot."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ae_lightning.models.shallow import ShallowAutoencoder
from ae_lightning.models.toy_model import ToyModel
from ae_lightning.plots.features import TrainingFrames, limit_of
from ae_lightning.report.plane import directions, hidden_states, reconstructed, shown, true_directions
from ae_lightning.run.codes import at_snapshots, chosen_moments
from ae_lightning.run.run import Run

_DOTS = 120
# Of a dozen instances so many are 4 MB as a page.
_MOST_FRAMES = 61
# Part of the numbers in samples that the panels hold.
_MOST_WITHIN = 0.98


class TrainingAnimation:
    """Directions, and hidden states with their reconstructions, of the first instances at each snapshot of a run.

    A toy model has its features only, others encoder rows, decoder rows, and test samples, which stay the same. The
    scale holds the directions of the last snapshot and nearly all samples: what is larger ends at the edge of its
    panel. Red are the latents that were resampled since the frame before. Of more than 61 snapshots so many are shown.

    Args:
        run: The run, whose data are set up.
        model: Its model, which is left as it is.
        instances: How many instances to show at most.
    """

    def __init__(self, run: Run, model: ShallowAutoencoder, instances: int) -> None:
        self._model = model
        self._instances = min(instances, model.instances or 1)
        self._snapshots = run.snapshots
        self._steps = chosen_moments(list(self._snapshots), _MOST_FRAMES)
        self._resampled = run.resampled
        self._behind = true_directions(run.data) if not isinstance(model, ToyModel) else None
        self._samples = hidden_states(model, run.data, _DOTS) if not isinstance(model, ToyModel) else None

    def frames(self) -> tuple[list[np.ndarray], list[str]]:
        """The frames, (height, width, 3) each, and a caption for each.

        Raises:
            ValueError: A snapshot is not one of the model, or not finite.
            RunFolderError: A snapshot is missing or damaged.
        """
        drawer = self._drawer()
        frames, captions, before = [], [], self._steps[0]  # nothing is new in the first frame
        for step, model in at_snapshots(self._model, self._snapshots, self._steps):
            marked = self._marked(before, step)
            caption = f"step {step:,}"
            if count := int(marked.sum()):
                caption += f": {count} latent{'s' * (count > 1)} resampled since step {before:,} (red)"
            frames.append(drawer.draw(*self._drawn(model), marked, caption))
            captions.append(caption)
            before = step
        return frames, captions

    def _drawer(self) -> TrainingFrames:
        ((_, last),) = at_snapshots(self._model, self._snapshots, self._steps[-1:])
        rows, dots = self._drawn(last)
        vectors = [*rows.values(), *([] if self._behind is None else [self._behind])]
        if dots is not None:  # a few that are sums of many features would make all others small
            vectors.append(dots[0].abs().flatten().quantile(_MOST_WITHIN))
        several = self._model.instances is not None
        return TrainingFrames(
            self._instances,
            list(rows),
            None if dots is None else "hidden states",
            limit=limit_of(*vectors),
            behind=self._behind,
            titles=[f"instance {i}" for i in range(self._instances)] if several else None,
        )

    def _drawn(self, model: ShallowAutoencoder) -> tuple[dict[str, Tensor], tuple[Tensor, Tensor] | None]:
        rows = shown(directions(model), self._instances)
        if self._samples is None:
            return rows, None
        states, decoded = reconstructed(model, self._samples)
        return rows, (states[: self._instances], decoded[: self._instances])

    def _marked(self, after: int, up_to: int) -> Tensor:
        """Which latents of the instances shown were resampled after one step and no later than another."""
        count = self._model.input_size if isinstance(self._model, ToyModel) else self._model.latent_dim
        marked = torch.zeros(self._instances, count, dtype=torch.bool)
        table = self._resampled
        rows = (table["step"] > after) & (table["step"] <= up_to) & (table["instance"] < self._instances)
        marked[torch.from_numpy(table["instance"][rows]), torch.from_numpy(table["latent"][rows])] = True
        return marked
