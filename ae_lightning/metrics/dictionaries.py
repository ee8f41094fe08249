"""What decoder rows alone say: how well matched pairs agree, which truths share latents, how alike latents are.

Rows have shape (…, latent, input), as in `ae_lightning.metrics.recovery`; answers are per instance, (…). Nothing here
sees a sample: neither a wrong encoder nor a wrong scale shows. Of rows that are not finite answers are NaN.
"""

from collections.abc import Sequence
from itertools import combinations

import torch
from torch import Tensor

from ae_lightning.metrics.matching import Matching
from ae_lightning.metrics.recovery import cosine_matrix, mcc

# Rows whose cosines with all others are looked at together.
_CHUNK = 1024


def mcc_matched(learned: Tensor, true: Tensor) -> Tensor:
    """Mean |cosine| over the pairs of the best one-to-one matching: Σ |cos| / min(latents, features).

    SynthSAEBench's MCC (Chanin and Garriga-Alonso 2026, arXiv 2602.14687), that of SAELens. It is `mcc` where there are
    at least as many latents as truths. Where there are fewer, truths without a latent do not count here, and count 0
    there: of two narrow dictionaries this says which has the truer latents, and `mcc` which finds more of the truth.

    Args:
        learned: Rows (…, latent, input).
        true: Rows (…, feature, input).

    Returns:
        (…), in [0, 1]. Random rows have more than 0: the fewer dimensions, the more.

    Raises:
        ValueError: The shapes do not fit each other.
    """
    return Matching.of(learned, true).mcc_matched


def uniqueness(learned: Tensor, true: Tensor) -> Tensor:
    """Distinct truths that are the best of some latent, by |cosine|, over the number of latents.

    Source: SynthSAEBench (arXiv 2602.14687), SAELens. 1 says that no two latents track the same truth; duplicates and
    the parts of a split truth lower it, and so does a dictionary wider than the truth.

    Args:
        learned: Rows (…, latent, input).
        true: Rows (…, feature, input).

    Returns:
        (…), in (0, 1].

    Raises:
        ValueError: The shapes do not fit each other.
    """
    return Matching.of(learned, true).uniqueness


def splitting(learned: Tensor, true: Tensor) -> Tensor:
    """Mean number of latents that stand for a truth, over truths for which any does.

    A latent stands for its best truth where |cosine| is above √½. 1 says that no truth is split among latents, nor held
    by duplicates; 2 that each is held by two. `uniqueness` counts latents that stand for nothing, too.

    Args:
        learned: Rows (…, latent, input).
        true: Rows (…, feature, input).

    Returns:
        (…), at least 1; NaN where no latent stands for a truth.

    Raises:
        ValueError: The shapes do not fit each other.
    """
    return Matching.of(learned, true).splitting


def decoder_cosine(rows: Tensor, *, nearest: bool = False) -> Tensor:
    """Mean |cosine| of two different latents, c_dec, over all pairs.

    Source: Chanin and Garriga-Alonso (2025), "Sparse but wrong" (arXiv 2508.16560): with L0 too low, latents mix
    correlated features and grow alike, so that over a sweep of L0 this is smallest near the true one. No truth is
    needed. It depends on the dimensions: random rows have √(2 / (π d)), roughly.

    Args:
        rows: Decoder rows (…, latent, output).
        nearest: Mean over latents of the largest |cosine| with any other, instead of over all pairs.

    Returns:
        (…), in [0, 1], float64. A row of zeros has cosine 0 with all others.

    Raises:
        ValueError: There are fewer than two latents.
    """
    count = rows.shape[-2]
    if count < 2:
        raise ValueError("the cosine of two latents needs at least two")
    total = torch.zeros(rows.shape[:-2], dtype=torch.float64, device=rows.device)
    for start in range(0, count, _CHUNK):
        cosines = cosine_matrix(rows[..., start : start + _CHUNK, :], rows).abs()
        cosines.diagonal(start, -2, -1).zero_()
        each = cosines.amax(-1) if nearest else cosines.sum(-1, dtype=torch.float64)
        total += each.sum(-1, dtype=torch.float64)
    return total / (count if nearest else count * (count - 1))


def seed_mcc(runs: Sequence[Tensor]) -> Tensor:
    """How alike dictionaries are that differ by their seed: `mcc_matched` of two of them, mean over all pairs.

    Source: the pairwise dictionary MCC of Song et al. (2025), "Mechanistic interpretability should prioritize feature
    consistency in SAEs" (arXiv 2505.20254). It needs no truth, and does not say which is right: all may err alike.

    Args:
        runs: Decoder rows (…, latent, output) of each seed, or one tensor (seeds, latent, output).

    Returns:
        (…), in [0, 1]; 1 where all have the same directions.

    Raises:
        ValueError: There are fewer than two, or their shapes do not fit each other.
    """
    if len(runs) < 2:
        raise ValueError(f"two seeds are compared, but there are rows of {len(runs)}")
    # Averaged over the smaller number of rows.
    pairs = [(a, b) if a.shape[-2] >= b.shape[-2] else (b, a) for a, b in combinations(runs, 2)]
    return torch.stack([mcc(wide, narrow) for wide, narrow in pairs]).mean(0)
