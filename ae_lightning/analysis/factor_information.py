"""What single latents tell of the factors that samples were made from: mutual information, MIG and SAP.

Codes are (n, latents), values of factors (n, factors), whole numbers from 0.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ae_lightning.analysis.pca import Array

BINS = 20
"""Bins of a latent, as Locatello et al. (2019) have them; as many as a factor has values, where these are more."""

# Latents whose values are counted at once.
_AT_ONCE = 256


def varying_latents(codes: Array) -> Array:
    """Numbers of the latents (n, latents) that vary: their range is more than rounding beside the largest value."""
    spread = codes.max(axis=0) - codes.min(axis=0)
    return np.flatnonzero(spread > np.finfo(np.float32).eps * np.abs(codes).max(axis=0))


def mutual_information(codes: Array, factors: Array, bins: int | None = None) -> Array:
    """Mutual information of each latent with each factor, (latents, factors), in nats.

    A latent is cut into bins of equal width between its smallest and its largest value. That of independent numbers is
    not 0, but (bins − 1)(values − 1) / 2n on average.

    Args:
        codes: Codes (n, latents).
        factors: Values (n, factors).
        bins: Bins of a latent; None takes 20, or as many as the factor with the most values has.

    Example:
        >>> mutual_information(np.array([[0.0], [0.0], [3.5], [3.5]]), np.array([[0], [0], [1], [1]]))
        array([[0.69314718]])
    """
    return np.stack([_information(counts) for counts in _tables(codes, factors, bins)], axis=1)


def entropies(factors: Array) -> Array:
    """Entropy of each factor (n, factors), (factors,), in nats."""
    return np.array([_entropy(np.bincount(column) / len(column)) for column in factors.T])


def mutual_information_gap(information: Array, entropy: Array) -> Array:
    """MIG of each factor, (factors,): how much more the latent that tells most of it tells than the next one.

    The two latents' mutual information with the factor, one minus the other, in parts of the factor's entropy; MIG is
    the mean over factors. 1 where one latent tells the factor and no other anything of it; near 0 of a random code.

    Source: Chen et al. (2018), "Isolating Sources of Disentanglement in Variational Autoencoders", with latents cut
    into bins as by Locatello et al. (2019), "Challenging Common Assumptions".

    Args:
        information: Mutual information (latents, factors).
        entropy: Entropy of factors (factors,).
    """
    return _gaps(information) / entropy


def attribute_scores(codes: Array, factors: Array, ordered: Sequence[bool]) -> Array:
    """How well each latent alone predicts each factor, (latents, factors), from 0 to 1.

    Of an ordered factor R² of a line, the squared correlation. Of another the balanced accuracy of thresholds, those
    between the bins of `mutual_information`, rescaled so that guessing, 1 / values, is 0 and all right is 1: the paper
    has the accuracy itself, which leaves a perfect code below 1.

    Args:
        codes: Codes (n, latents).
        factors: Values (n, factors).
        ordered: Whether each factor is.
    """
    columns = [
        _squared_correlations(codes, values) if is_ordered else _balanced_accuracies(counts)
        for values, counts, is_ordered in zip(factors.T, _tables(codes, factors), ordered, strict=True)
    ]
    return np.stack(columns, axis=1)


def separated_attribute_predictability(scores: Array) -> Array:
    """SAP of each factor, (factors,): how much better the latent that predicts it best does than the next one.

    SAP is the mean over factors; 1 where a latent alone predicts each, near 0 of a random code.

    Source: Kumar et al. (2018), "Variational Inference of Disentangled Latent Concepts from Unlabeled Observations".

    Args:
        scores: What `attribute_scores` answers, (latents, factors).
    """
    return _gaps(scores)


def _gaps(matrix: Array) -> Array:
    """The largest number of each column minus the next; of a single row, the number itself."""
    two = np.sort(np.concatenate([matrix, np.zeros((2, matrix.shape[1]))]), axis=0)[-2:]
    return two[1] - two[0]


def _tables(codes: Array, factors: Array, bins: int | None = None) -> Iterator[Array]:
    """For each factor the number of samples by latent, bin and value, (latents, bins, values)."""
    bins = max(BINS, int(factors.max()) + 1) if bins is None else bins
    binned = _binned(codes, bins)
    for column in factors.T:
        yield np.concatenate(
            [_counts(binned[:, start : start + _AT_ONCE], column, bins) for start in range(0, codes.shape[1], _AT_ONCE)]
        )


def _binned(codes: Array, bins: int) -> Array:
    low, high = codes.min(axis=0), codes.max(axis=0)
    width = np.where(high > low, (high - low) / bins, 1)
    return np.minimum((codes - low) / width, bins - 1).astype(np.int64)


def _counts(binned: Array, values: Array, bins: int) -> Array:
    count, latents = int(values.max()) + 1, binned.shape[1]
    places = (np.arange(latents) * bins + binned) * count + values[:, None]
    return np.bincount(places.ravel(), minlength=latents * bins * count).reshape(latents, bins, count)


def _information(counts: Array) -> Array:
    """Mutual information (latents,) of counts (latents, bins, values)."""
    joint = counts / counts.sum(axis=(1, 2), keepdims=True)
    sides = (joint.sum(axis=2), joint.sum(axis=1), joint.reshape(len(joint), -1))
    of_latent, of_factor, of_both = (_entropy(side) for side in sides)
    return np.maximum(of_latent + of_factor - of_both, 0)


def _entropy(shares: Array) -> Array:
    """Entropy over the last axis, in nats."""
    return -(shares * np.log(np.where(shares > 0, shares, 1))).sum(axis=-1)


def _squared_correlations(codes: Array, values: Array) -> Array:
    centered, target = codes - codes.mean(axis=0), values - values.mean()
    squares = np.square(centered).sum(axis=0) * np.square(target).sum()
    return np.divide(np.square(target @ centered), squares, out=np.zeros(codes.shape[1]), where=squares > 0)


def _balanced_accuracies(counts: Array) -> Array:
    """Balanced accuracy of saying in each bin the value that fits best, (latents,), rescaled to 0 for guessing."""
    of_value = counts.sum(axis=1, keepdims=True)
    there = of_value[0, 0] > 0
    shares = counts[:, :, there] / of_value[:, :, there]
    return (shares.max(axis=2).sum(axis=1) - 1) / (there.sum() - 1)
