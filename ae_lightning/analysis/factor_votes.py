"""Which latent varies least while one factor is fixed: the score of FactorVAE."""

from __future__ import annotations

import numpy as np

from ae_lightning.analysis.pca import Array

VOTES = 800
"""Votes that the classifier is fitted to, and again so many that it is tried on, as in the paper."""
SAMPLES_PER_VOTE = 64
"""Samples with the same value of a factor that make a vote, as Locatello et al. (2019) have them."""

# Numbers that are gathered at once, 64 MB.
_AT_ONCE = 2**23


def factor_vae_score(codes: Array, factors: Array, seed: int = 0) -> float:
    """How surely the latent that varies least tells which factor was fixed, from 1 / factors for guessing to 1.

    A vote fixes a factor at a value that is drawn, draws samples that have it, and names the latent of the
    lowest variance, in parts of its variance over all samples. The classifier says for each latent the factor that most
    of its votes had. Samples are drawn with replacement from the given ones, among values that two of them have at
    least. Latents must vary; of no latents it is the score of guessing.

    Source: Kim and Mnih (2018), "Disentangling by Factorising".

    Args:
        codes: Codes (n, latents).
        factors: Values (n, factors), whole numbers from 0.
        seed: Seed of the draws.
    """
    count = factors.shape[1]
    if not codes.shape[1]:
        return 1 / count
    generator = np.random.default_rng(seed)
    fixed = generator.integers(count, size=2 * VOTES)
    least = np.empty(2 * VOTES, dtype=np.int64)
    for factor in range(count):
        votes = np.flatnonzero(fixed == factor)
        least[votes] = _least_varying(codes, _rows_that_agree(factors[:, factor], len(votes), generator))
    table = np.zeros((codes.shape[1], count), dtype=np.int64)
    np.add.at(table, (least[:VOTES], fixed[:VOTES]), 1)
    return float((table.argmax(axis=1)[least[VOTES:]] == fixed[VOTES:]).mean())


def _rows_that_agree(values: Array, votes: int, generator: np.random.Generator) -> Array:
    """Rows (votes, samples) whose values (n,) are the same within a vote."""
    rows, counts = np.argsort(values, kind="stable"), np.bincount(values)
    starts = np.cumsum(counts) - counts
    drawn = generator.choice(np.flatnonzero(counts > 1), size=votes)[:, None]
    return rows[starts[drawn] + generator.integers(counts[drawn], size=(votes, SAMPLES_PER_VOTE))]


def _least_varying(codes: Array, rows: Array) -> Array:
    """The latent of the lowest normalized variance among the samples of each vote, (votes,)."""
    scaled = codes / codes.std(axis=0)
    at_once = max(1, _AT_ONCE // (rows.shape[1] * codes.shape[1]))
    parts = [scaled[rows[start : start + at_once]] for start in range(0, len(rows), at_once)]
    return np.concatenate([part.var(axis=1).argmin(axis=1) for part in parts])
