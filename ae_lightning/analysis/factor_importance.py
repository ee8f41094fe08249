"""How much each latent matters to a forest that reads a factor from the code, and what follows: DCI."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ae_lightning.analysis.pca import Array

TREES = 10
"""Trees of a forest."""
MOST_READ = 64
"""Latents that a forest reads at most: those that tell most of the factor by themselves."""
_SMALLEST_LEAF = 5


class Reading(NamedTuple):
    """What forests make of a code.

    Args:
        importance: Importance of each latent for each factor, (latents, factors); a column sums to 1, or is 0 where
            nothing is told.
        accuracy: Share of the held-out samples whose factor is read right, (factors,).
    """

    importance: Array
    accuracy: Array


def read_factors(codes: Array, factors: Array, information: Array, seed: int = 0) -> Reading:
    """Fit a forest to each factor on half of the samples, drawn at random, and try it on the other half.

    A forest is ten extremely randomized trees (Geurts et al. 2006), which cost a quarter of those of a random forest;
    leaves have five samples. Importance is the mean decrease of Gini impurity. Each split chooses among all latents: of
    few it would often have to take one that tells nothing. Of wide codes a forest reads the 64 latents with the most
    mutual information, and others have importance 0.

    Args:
        codes: Codes (n, latents).
        factors: Values (n, factors), whole numbers from 0.
        information: Mutual information of latents and factors, (latents, factors).
        seed: Seed of the halves and of the trees.
    """
    from sklearn.ensemble import ExtraTreesClassifier  # takes a second, which most of a run need not wait for

    order = np.random.default_rng(seed).permutation(len(codes))
    fit, held_out = np.array_split(order, 2)
    importance, accuracy = np.zeros(information.shape), np.zeros(factors.shape[1])
    for column, values in enumerate(factors.T):
        read = np.sort(np.argsort(-information[:, column], kind="stable")[:MOST_READ])
        forest = ExtraTreesClassifier(TREES, max_features=None, min_samples_leaf=_SMALLEST_LEAF, random_state=seed)
        forest.fit(codes[np.ix_(fit, read)], values[fit])
        importance[read, column] = forest.feature_importances_
        accuracy[column] = forest.score(codes[np.ix_(held_out, read)], values[held_out])
    return Reading(importance, accuracy)


def disentanglement(importance: Array) -> float:
    """How far each latent matters to one factor only, from 0 to 1.

    1 minus the entropy of a latent's importance over factors, in parts of that of equal importance, averaged over
    latents by their share of all importance.

    Source: Eastwood and Williams (2018), "A Framework for the Quantitative Evaluation of Disentangled Representations".

    Args:
        importance: Importance (latents, factors); there are at least two factors.

    Example:
        >>> disentanglement(np.array([[1.0, 0.0], [0.0, 0.5], [0.0, 0.5]]))
        1.0
    """
    of_latents = importance.sum(axis=1)
    total = of_latents.sum()
    return float((_evenness(importance) * of_latents).sum() / total) if total > 0 else 0.0


def completeness(importance: Array) -> Array:
    """How far each factor is told by one latent only, (factors,), from 0 to 1; the score is the mean over factors.

    1 minus the entropy of a factor's importance over latents, in parts of that of equal importance; NaN of one latent.

    Source: as `disentanglement`.

    Args:
        importance: Importance (latents, factors).

    Example:
        >>> completeness(np.array([[1.0, 0.0], [0.0, 0.5], [0.0, 0.5]])).round(3)
        array([1.   , 0.369])
    """
    return _evenness(importance.T) if len(importance) > 1 else np.full(importance.shape[1], np.nan)


def _evenness(rows: Array) -> Array:
    """1 minus the entropy of each row, in parts of the largest; 0 of rows that are 0."""
    sums = rows.sum(axis=1, keepdims=True)
    shares = np.divide(rows, sums, out=np.zeros_like(rows), where=sums > 0)
    entropy = -(shares * np.log(np.where(shares > 0, shares, 1))).sum(axis=1) / np.log(rows.shape[1])
    return np.where(sums[:, 0] > 0, 1 - entropy, 0.0)
