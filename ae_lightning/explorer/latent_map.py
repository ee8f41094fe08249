"""Codes of samples as points of a plane."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ae_lightning.analysis.pca import fit_pca

Array = np.ndarray[Any, Any]

_COMPONENTS = 50
_PERPLEXITY = 30.0
_ITERATIONS = 500
_FEWEST = 10


@dataclass(frozen=True)
class LatentMap:
    """Points of a plane, one for each sample.

    Args:
        name: What the map is called.
        xy: float32 (n, 2).
        note: A sentence on how it was made.
        mean: float32 (code,), and
        axes: float32 (2, code), where the map is (z − mean) · axesᵀ, so that other codes have a place too.
    """

    name: str
    xy: Array
    note: str
    mean: Array | None = None
    axes: Array | None = None


def latent_maps(codes: Array) -> list[LatentMap]:
    """Maps of codes (n, code), the same each time.

    A code of one or two numbers is shown as it is; a longer one by its principal components and, of at least ten
    samples that differ, by t-SNE. Codes that are not finite have no map.
    """
    codes = codes.astype(np.float32, copy=False)
    if not np.isfinite(codes).all():
        return []
    if codes.shape[1] <= 2:
        return [_as_it_is(codes)]
    maps = [_pca(codes)]
    if len(codes) >= _FEWEST and len(np.unique(codes, axis=0)) >= _FEWEST:
        maps.append(_tsne(codes))
    return maps


def _as_it_is(codes: Array) -> LatentMap:
    width = codes.shape[1]
    axes = np.eye(2, width, dtype=np.float32)
    note = "the two numbers of the code" if width == 2 else "the one number of the code, from left to right"
    return LatentMap("code", codes @ axes.T, note, np.zeros(width, dtype=np.float32), axes)


def _pca(codes: Array) -> LatentMap:
    pca = fit_pca(codes, 2)
    axes = np.zeros((2, codes.shape[1]), dtype=np.float32)
    axes[: len(pca.components)] = pca.components  # of a single sample there is one
    xy = (codes - pca.mean) @ axes.T
    total = float(codes.var(axis=0, dtype=np.float64).sum())
    share = float(xy.var(axis=0, dtype=np.float64).sum()) / total if total > 0 else 0.0
    note = f"the first two principal components hold {share:.0%} of the variance"
    return LatentMap("PCA", xy, note, pca.mean, axes)


def _tsne(codes: Array) -> LatentMap:
    from sklearn.manifold import TSNE  # takes a second to import
    from threadpoolctl import threadpool_limits

    few = codes - codes.mean(axis=0)
    if codes.shape[1] > _COMPONENTS:
        few = fit_pca(codes, _COMPONENTS).encode(codes)
    perplexity = min(_PERPLEXITY, (len(codes) - 1) / 3)
    tsne = TSNE(init="pca", perplexity=perplexity, max_iter=_ITERATIONS, random_state=0)
    # Threads add their shares up in an order that differs from time to time.
    with threadpool_limits(1, user_api="openmp"):
        xy = tsne.fit_transform(few)
    note = f"t-SNE with perplexity {perplexity:.3g}: neighbors stay neighbors, but distances between groups mean little"
    return LatentMap("t-SNE", xy.astype(np.float32), note)
