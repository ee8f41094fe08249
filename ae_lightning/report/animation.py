"""The course of a training in the plane or in space, a frame for each snapshot."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ae_lightning.models.shallow import ShallowAutoencoder
from ae_lightning.models.toy_model import ToyModel
from ae_lightning.plots.plane import limit_of
from ae_lightning.plots.training_frames import TrainingFrames
from ae_lightning.report.plane import View, directions, hidden_states, reconstructed, shown, true_directions
from ae_lightning.run.codes import at_snapshots, chosen_moments
from ae_lightning.run.run import Run

_DOTS = 120
# Of a dozen instances so many are 4 MB as a page.
_MOST_FRAMES = 61
# Part of the numbers in samples that the panels hold.
_MOST_WITHIN = 0.98
# Degrees from one frame to the next while the last weights turn once around.
_TURN = 15


class TrainingAnimation:
    """Directions, and hidden states with their reconstructions, of the first instances at each snapshot of a run.

    A toy model has its features only, others encoder rows, decoder rows, and test samples, which stay the same. The
    scale holds the directions of the last snapshot and nearly all samples: what is larger ends at the edge of its
    panel. Red are the latents that were resampled since the frame before. Of more than 61 snapshots so many are shown.

    Of three dimensions all frames have one view, see `View.of`, so that what moves is a latent and not the viewer; then
    the last weights turn once around, which shows how deep they are.

    Args:
        run: The run, whose data are set up.
        model: Its model, which is left as it is.
        instances: How many instances to show at most.
    """

    def __init__(self, run: Run, model: ShallowAutoencoder, instances: int) -> None:
        self._model = model
        self._instances = min(instances, model.instances or 1)
        self._view = View.of(model, run.data)
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
        ((_, last),) = at_snapshots(self._model, self._snapshots, self._steps[-1:])
        limit = self._limit(last)
        drawer = self._drawer(self._view, limit)
        frames, captions, before = [], [], self._steps[0]  # nothing is new in the first frame
        for step, model in at_snapshots(self._model, self._snapshots, self._steps):
            marked = self._marked(before, step)
            caption = f"step {step:,}"
            if count := int(marked.sum()):
                caption += f": {count} latent{'s' * (count > 1)} resampled since step {before:,} (red)"
            frames.append(drawer.draw(*self._drawn(model, self._view), marked, caption))
            captions.append(caption)
            before = step
        for degrees in range(_TURN, 361, _TURN) if self._view.is_in_space else ():
            view, caption = self._view.turned(degrees), f"step {before:,}, turned by {degrees}°"
            frames.append(self._drawer(view, limit).draw(*self._drawn(last, view), caption=caption))
            captions.append(caption)
        return frames, captions

    def _limit(self, last: ShallowAutoencoder) -> float:
        """Half the width of a panel, for the weights of the last snapshot."""
        rows, dots = self._drawn(last, View())
        vectors = [*rows.values(), *([] if self._behind is None else [self._behind])]
        if self._view.is_in_space:  # lengths, which stay the same in a turn
            vectors = [rows.norm(dim=-1) for rows in vectors]
        if dots is not None:  # a few that are sums of many features would make all others small
            sizes = dots[0].norm(dim=-1) if self._view.is_in_space else dots[0].abs()
            vectors.append(sizes.flatten().quantile(_MOST_WITHIN))
        return limit_of(*vectors)

    def _drawer(self, view: View, limit: float) -> TrainingFrames:
        several = self._model.instances is not None
        return TrainingFrames(
            self._instances,
            ["features"] if self._samples is None else ["encoder", "decoder"],
            None if self._samples is None else "hidden states",
            limit=limit,
            behind=None if self._behind is None else view(self._behind),
            titles=[f"instance {i}" for i in range(self._instances)] if several else None,
            deep=view.is_in_space,
        )

    def _drawn(self, model: ShallowAutoencoder, view: View) -> tuple[dict[str, Tensor], tuple[Tensor, Tensor] | None]:
        rows = shown(directions(model), self._instances, view)
        if self._samples is None:
            return rows, None
        states, decoded = reconstructed(model, self._samples)
        return rows, (view(states[: self._instances]), view(decoded[: self._instances]))

    def _marked(self, after: int, up_to: int) -> Tensor:
        """Which latents of the instances shown were resampled after one step and no later than another."""
        count = self._model.input_size if isinstance(self._model, ToyModel) else self._model.latent_dim
        marked = torch.zeros(self._instances, count, dtype=torch.bool)
        table = self._resampled
        rows = (table["step"] > after) & (table["step"] <= up_to) & (table["instance"] < self._instances)
        marked[torch.from_numpy(table["instance"][rows]), torch.from_numpy(table["latent"][rows])] = True
        return marked
