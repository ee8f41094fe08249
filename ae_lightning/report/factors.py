"""Figures of what a code tells of the factors that samples were made from."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import numpy as np
from matplotlib.figure import Figure

from ae_lightning.analysis.coder import single
from ae_lightning.analysis.factor_information import entropies, mutual_information
from ae_lightning.analysis.pca import Array
from ae_lightning.analysis.traversal import traverse
from ae_lightning.data.base import AutoencoderDataModule
from ae_lightning.evaluation.factors import CodesAndFactors, codes_and_factors
from ae_lightning.models.base import Autoencoder
from ae_lightning.plots.factors import factor_matrix
from ae_lightning.plots.latent_space import interpolation_strips
from ae_lightning.plots.tiles import is_picture

_MOST_LATENTS = 40
_STEPS = 9


class FactorFigures:
    """Mutual information of latents and factors, and what the latents that tell most of each factor write.

    With instances all is of the first one.

    Args:
        model: The model.
        data: Data that know their factors, set up.
    """

    def __init__(self, model: Autoencoder, data: AutoencoderDataModule) -> None:
        self._model = model
        self._data = data

    def fitting(self) -> dict[str, Callable[[], Figure]]:
        """The figures by name; without the traversals where what is decoded is no picture."""
        figures: dict[str, Callable[[], Figure]] = {"factors": self.matrix}
        if is_picture(self._model.output_shape) and not self._model.needs_targets:
            figures["factor_traversals"] = self.traversals
        return figures

    def matrix(self) -> Figure:
        """What each latent tells of each factor; of more than 40 the latents that tell most, in their order."""
        shares = self._shares
        latents = np.sort(np.argsort(-shares.max(axis=1), kind="stable")[:_MOST_LATENTS])
        part = f", the {len(latents)} of {len(shares)} latents that tell most" if len(latents) < len(shares) else ""
        several = "" if self._model.instances is None else ", first instance"
        title = f"mutual information of latents and factors{part}{several}"
        return factor_matrix(shares[latents], latents.tolist(), self._names, title)

    def traversals(self) -> Figure:
        """The first test sample, decoded while the latent moves that tells most of a factor, a row for each factor."""
        best = self._shares.argmax(axis=0).tolist()
        x = self._data.test_set[0][0]
        images = traverse(single(self._model), x, self._read.codes, best, _STEPS)
        bounded = all(map(np.isfinite, self._data.value_range))
        labels = [f"{name}: #{latent}" for name, latent in zip(self._names, best, strict=True)]
        return interpolation_strips(images, self._data.value_range if bounded else None, labels=labels)

    @cached_property
    def _read(self) -> CodesAndFactors:
        return codes_and_factors(self._model, self._data, None if self._model.instances is None else 0)

    @cached_property
    def _varying(self) -> list[int]:
        values = self._read.factors
        return np.flatnonzero(values.min(axis=0) < values.max(axis=0)).tolist()

    @property
    def _names(self) -> list[str]:
        return [self._data.factors[factor].name for factor in self._varying]

    @cached_property
    def _shares(self) -> Array:
        """Mutual information in parts of the factor's entropy, (latents, factors)."""
        codes, factors = self._read.codes, self._read.factors[:, self._varying]
        if not np.isfinite(codes).all():
            raise ValueError("codes of test samples are not finite")
        return np.clip(mutual_information(codes, factors) / entropies(factors), 0, 1)
