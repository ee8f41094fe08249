"""Which figures show the weights of a shallow model in the course of its training, and how each is made."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import cached_property
from typing import cast

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from ae_lightning.analysis.importance import (
    ablation_importance,
    causal_importance,
    error_by_removal,
    order,
    rank_correlation,
)
from ae_lightning.analysis.spectrum import effective_rank, singular_values
from ae_lightning.analysis.tracking import births_and_deaths, unit_cosines
from ae_lightning.models.base import Autoencoder
from ae_lightning.models.shallow import ShallowAutoencoder
from ae_lightning.models.toy_model import ToyModel
from ae_lightning.plots import evolution as evolution_plots
from ae_lightning.plots import importance as importance_plots
from ae_lightning.plots import spectrum as spectrum_plots
from ae_lightning.plots.tiles import viewable_shape
from ae_lightning.plots.weights import weight_grid
from ae_lightning.report.ranking import RankedOn, Ranking
from ae_lightning.run.codes import chosen_moments, encode, first_batches
from ae_lightning.run.run import Run

UNITS = 64
"""How many units are shown as images if it is not said."""

_ROWS = 12
_PANELS = 4
_COLUMNS = 10
_FRAMES = 31
_SAMPLES = 1000
_LIT_SAMPLES = 10_000
# Vectors of fewer numbers are no pictures.
_SMALLEST_IMAGE = 16
_REMOVALS = 33
# Both matrices at so many moments: a fifth of a second each on MNIST.
_RANKS = 16


class WeightFigures:
    """Images of units, their importance and the spectra of the weights, of a shallow run; of instances, the first.

    Units are shown in the order of their importance, see `Ranking`. Pixels that no training sample lights are gray:
    what an encoder reads there is the noise of its start.

    Args:
        run: The run; its data are set up here.
        model: Its model with the weights to show, those of the best checkpoint by default.
        steps: Snapshots to show side by side, as optimizer steps; None chooses up to four, denser at the start.
        units: How many units are shown as images.
        ranked_on: Of which samples importance is: the first 1,000 of the test set, or the first 5,000 of the training
            set, as the overcomplete experiment has it.
    """

    def __init__(
        self,
        run: Run,
        model: Autoencoder | None = None,
        steps: Sequence[int] | None = None,
        units: int = UNITS,
        ranked_on: RankedOn = "test",
    ) -> None:
        self.run = run
        self.model = run.model if model is None else model
        self.data = run.data
        self.data.setup()
        self.units = units
        self._asked = steps
        self._ranked_on: RankedOn = ranked_on

    def fitting(self) -> dict[str, Callable[[], Figure]]:
        """The figures that this run allows, by name; none where the model is not shallow, or a toy model."""
        if not isinstance(self.model, ShallowAutoencoder) or isinstance(self.model, ToyModel):
            return {}
        has_history = len(self.run.snapshots) > 1
        figures: dict[str, Callable[[], Figure]] = {}
        if self.has_images:
            figures |= {"encoder_units": self.encoder_units, "decoder_units": self.decoder_units}
        if self.has_images and has_history:
            figures |= {
                "encoder_through_training": self.grids,
                "ranks_through_training": self.evolution_by_rank,
                "units_through_training": self.evolution_of_units,
            }
        if has_history:
            figures |= {"importance": self.importance, "top_units": self.top_units}
        figures |= {"causal_importance": self.causal, "cosines": self.cosines}
        if self._is_linear:
            figures["removal"] = self.removal
        figures["spectrum"] = self.spectrum
        if has_history:
            figures["effective_rank"] = self.effective_rank
        return figures

    @cached_property
    def has_images(self) -> bool:
        """Whether samples are long enough for their weights to be looked at as images."""
        return self.model.input_size >= _SMALLEST_IMAGE

    @cached_property
    def steps(self) -> list[int]:
        """Snapshots that are shown side by side: the nearest to those asked for, in order."""
        taken = list(self.run.snapshots)
        if self._asked is not None:
            return sorted({self.run.snapshots.nearest(step) for step in self._asked})
        last = taken[-1]
        wanted = [taken[0], *np.geomspace(max(1, last / 27), last, _PANELS - 1)]
        return sorted({self.run.snapshots.nearest(round(float(step))) for step in wanted})

    @property
    def has_animation(self) -> bool:
        """Whether there are images of units at several moments."""
        return "units_through_training" in self.fitting()

    def births_and_deaths(self) -> str | None:
        """How many units came to life and fell silent, as a sentence; None without a rectified code and history."""
        if "importance" not in self.fitting() or not self._shallow.fires_above_zero:
            return None
        born, died = births_and_deaths(self._ranking.history)  # an importance is zero where a unit is silent
        silent, late, fell = (int(mask.sum()) for mask in (born < 0, born > 0, died >= 0))
        return (
            f"Of {len(born):,} units {silent:,} are active on none of {self._ranking.samples} at any snapshot, "
            f"{late:,} came to life after the first one, and {fell:,} fell silent and are so at the last."
        )

    def encoder_units(self) -> Figure:
        """Encoder rows of the most important units of the trained model."""
        title = f"what the {self._count} most important units read"
        encoder = self._shallow.reading(self._encoder)
        return weight_grid(encoder, self._shape, indices=self._top, title=title, mask=self._lit)

    def decoder_units(self) -> Figure:
        """Decoder rows of the same units."""
        title = f"what the {self._count} most important units write"
        decoder = self._shallow.writing(self._decoder)
        return weight_grid(decoder, self._shape, indices=self._top, title=title)

    def grids(self) -> Figure:
        """Encoder rows of the units that are most important at each of the moments shown."""
        rows = (self._first(self.run.snapshots[step]["encoder_vectors"]) for step in self.steps)
        encoders = torch.stack([self._shallow.reading(row) for row in rows])
        orders = torch.stack([self._ranking.top_at(step, self._count) for step in self.steps])
        return evolution_plots.weight_grids(
            encoders, self._shape, self.steps, orders, mask=self._lit, shared_scale=False, title="encoder rows"
        )

    def evolution_by_rank(self) -> Figure:
        """Decoder rows of the units of each rank at ten moments."""
        steps = chosen_moments(self._ranking.moments, _COLUMNS)
        ranked = torch.stack([self._ranking.top_at(step, _ROWS) for step in steps])
        rows = torch.stack([self._decoder_at(step)[units] for step, units in zip(steps, ranked, strict=True)])
        return evolution_plots.weight_evolution(
            rows, self._shape, steps, ranked, shared_scale=False, title="decoder rows by rank of importance"
        )

    def evolution_of_units(self) -> Figure:
        """Decoder rows of the units that are most important in the end, at ten moments."""
        steps, units = chosen_moments(self._ranking.moments, _COLUMNS), self._top[:_ROWS]
        rows = torch.stack([self._decoder_at(step)[units] for step in steps])
        return evolution_plots.weight_evolution(
            rows, self._shape, steps, units, shared_scale=False, title="decoder rows of the same units"
        )

    def frames(self) -> tuple[list[np.ndarray], list[str]]:
        """Frames of an animation with captions: decoder rows of the units that are most important, side by side.

        On the left those most important in the end, in their places; on the right those of each moment, by rank.
        """
        steps = chosen_moments(self._ranking.moments, _FRAMES)
        top = torch.tensor(self._top)
        chosen = ((step, torch.stack([top, self._ranking.top_at(step, self._count)])) for step in steps)
        moments = ((step, self._decoder_at(step)[units]) for step, units in chosen)
        captions = [
            f"step {step:,}: decoder rows of the {self._count} units most important in the end (left), and of those "
            "most important at this moment (right)"
            for step in steps
        ]
        return evolution_plots.weight_frames(moments, self._shape), captions

    def importance(self) -> Figure:
        """Importance of all units, largest first, at the moments shown."""
        rows = torch.stack([self._ranking.at(step) for step in self.steps])
        return importance_plots.importance_distribution(rows, self.steps)

    def top_units(self) -> Figure:
        """Ranks of the finally most important units over training."""
        history = self._ranking.history
        return importance_plots.top_unit_tracking(history, self._ranking.moments, min(20, history.shape[1]))

    def causal(self) -> Figure:
        """Increase of the error without each unit, against its importance."""
        correlation = rank_correlation(self._ranking.final, self._causal)
        return importance_plots.importance_against_causal(self._ranking.final, self._causal, correlation)

    def removal(self) -> Figure:
        """Error when units are removed, by importance, by causal importance, and from the least important on."""
        latent = len(self._ranking.final)
        counts = sorted({round(float(count)) for count in np.linspace(0, latent, min(latent + 1, _REMOVALS))})
        by_importance = order(self._ranking.final)
        orders = {
            "most important first": by_importance,
            "largest causal importance first": order(self._causal),
            "least important first": by_importance.flip(0),
        }
        x, z = self._samples
        written = self._written
        errors = {name: error_by_removal(x, z, *written, units, counts).numpy() for name, units in orders.items()}
        return importance_plots.removal_curve(counts, errors, None)

    def cosines(self) -> Figure:
        """Cosine of each unit's encoder and decoder row."""
        return importance_plots.encoder_decoder_cosines(unit_cosines(self._encoder, self._decoder), self._ranking.final)

    def spectrum(self) -> Figure:
        """Singular values of encoder and decoder, and at the first snapshot."""
        values = {"encoder": singular_values(self._encoder), "decoder": singular_values(self._decoder)}
        initial = None
        if len(self.run.snapshots) > 1:
            first = self.run.snapshots[self._ranking.moments[0]]
            initial = {side: singular_values(self._first(first[f"{side}_vectors"])) for side in values}
        return spectrum_plots.spectrum(values, initial=initial)

    def effective_rank(self) -> Figure:
        """Effective rank of encoder and decoder at the snapshots."""
        ranks: dict[str, list[float]] = {"encoder": [], "decoder": []}
        steps = chosen_moments(self._ranking.moments, _RANKS)
        for step in steps:
            snapshot = self.run.snapshots[step]
            for side, values in ranks.items():
                values.append(float(effective_rank(self._first(snapshot[f"{side}_vectors"]))))
        maximum = min(self._encoder.shape)
        return spectrum_plots.effective_rank_history(steps, ranks, maximum)

    # --- details -----------------------------------------------------------------------------------------------

    @property
    def _shallow(self) -> ShallowAutoencoder:
        return cast(ShallowAutoencoder, self.model)

    @cached_property
    def _ranking(self) -> Ranking:
        steps = self.steps if len(self.run.snapshots) else []
        return Ranking(self.run, self._shallow, steps, self._ranked_on)

    @property
    def _is_linear(self) -> bool:
        """Whether reconstructions are sums over units, without an output activation."""
        return self.model.output_range == (-math.inf, math.inf)

    @property
    def _shape(self) -> tuple[int, ...]:
        return viewable_shape(self.model.input_shape)

    @property
    def _count(self) -> int:
        return min(self.units, len(self._encoder))

    @cached_property
    def _top(self) -> list[int]:
        return order(self._ranking.final)[: self._count].tolist()

    def _first(self, values: Tensor) -> Tensor:
        return values if self.model.instances is None else values[0]

    @cached_property
    def _encoder(self) -> Tensor:
        return self._first(self._shallow.encoder_vectors.detach())

    @cached_property
    def _decoder(self) -> Tensor:
        return self._first(self._shallow.decoder_vectors.detach())

    def _decoder_at(self, step: int) -> Tensor:
        return self._shallow.writing(self._first(self.run.snapshots[step]["decoder_vectors"]))

    @cached_property
    def _written(self) -> tuple[Tensor, Tensor]:
        """Decoder rows and bias of the first instance that make reconstructions in the units of `_samples`."""
        return self._shallow.writing(self._decoder), self._first(self._shallow.written_bias().detach())

    @cached_property
    def _samples(self) -> tuple[Tensor, Tensor]:
        """Test samples (n, input) of the first instance, and their codes (n, latent).

        They are in the data's units, unless each sample is scaled by itself.
        """
        x = torch.cat(list(first_batches(self.data.test_set, self.data.eval_batch_size, _SAMPLES)))
        flat = self._shallow.flatten(x) if self.model.decodes_to_data else self._shallow.inputs(x)
        return flat[0] if flat.ndim == 3 else flat, encode(self.model, x)[0]

    @cached_property
    def _causal(self) -> Tensor:
        x, z = self._samples
        if self._is_linear:
            return causal_importance(x, z, *self._written)
        return ablation_importance(x.reshape(-1, *self.model.input_shape), z, self._decode)

    def _decode(self, z: Tensor) -> Tensor:
        with torch.no_grad():
            if self.model.instances is None:
                return self.model.decode(z)
            return self.model.decode(z.expand(self.model.instances, *z.shape))[0]

    @cached_property
    def _lit(self) -> Tensor:
        """Where any training sample differs from the others, (input,)."""
        train = self.data.train_set
        batches = list(first_batches(train, self.data.eval_batch_size, _LIT_SAMPLES))
        flat = [self._shallow.flatten(x) for x in batches]
        rows = torch.cat([part[0] if part.ndim == 3 else part for part in flat])
        return rows.amax(dim=0) > rows.amin(dim=0)
