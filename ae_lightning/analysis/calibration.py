"""The threshold at which codes are as sparse as wanted, found on given samples."""

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor


def threshold_for_l0(chunks: Iterable[Tensor], k: float | Sequence[float], samples: int) -> Tensor:
    """Find the threshold above which k latents of a sample are active, in the mean over all samples.

    It is the (round(k · samples) + 1)-th largest score, so that exactly round(k · samples) lie above it. They are
    fewer where several scores equal it, or where fewer are positive: then it is 0. Of all scores at most
    2 · (k · samples + 1) are kept in memory beside a chunk.

    Args:
        chunks: Scores (…, n, latent) of some samples at a time. What leads is apart.
        k: Wanted active latents of a sample (L0): a number, or one for each of what leads.
        samples: How many there are in all chunks.

    Returns:
        Thresholds (…), at least 0, in the chunks' format of numbers.

    Raises:
        ValueError: The chunks do not hold so many samples.
    """
    counts: list[int] = []
    kept: list[Tensor] = []
    lead, came = torch.Size(), 0
    for scores in chunks:
        lead, came = scores.shape[:-2], came + scores.shape[-2]
        rows = list(scores.reshape(-1, scores.shape[-2] * scores.shape[-1]))
        counts = counts or [round(each * samples) + 1 for each in (k if isinstance(k, Sequence) else [k] * len(rows))]
        kept = [_cut(*parts) for parts in zip(kept or [row[:0] for row in rows], rows, counts, strict=True)]
    if came != samples:
        raise ValueError(f"the chunks hold {came} samples, and not {samples}")
    return torch.stack([_smallest(*parts) for parts in zip(kept, counts, strict=True)]).view(lead)


def _cut(kept: Tensor, new: Tensor, count: int) -> Tensor:
    """Positive scores of both, without those that cannot be among the `count` largest, once they are twice as many."""
    kept = torch.cat((kept, new[new > 0]))
    return kept if len(kept) <= 2 * count else kept.topk(count, sorted=False).values


def _smallest(scores: Tensor, count: int) -> Tensor:
    """The smallest of the `count` largest scores, or 0 where there are fewer."""
    return scores.new_zeros(()) if len(scores) < count else scores.topk(count, sorted=False).values.amin()
