"""Which latent stands for which true feature in the course of training: births, deaths and swaps of latents.

A *moment* is one point of training at which weights were kept. Answers are on the CPU.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import torch
from torch import Tensor

from ae_lightning.metrics.matching import STANDS_FOR, Matching


class Tracked(NamedTuple):
    """The best one-to-one matching of latents and truths at each moment, that of `metrics.recovery.mcc`."""

    latent_of: Tensor  #: the latent of each truth, int64 (moments, features); -1 where it has none
    cosine_of: Tensor  #: |cosine| of the two, (moments, features); 0 where a truth has no latent


class Events(NamedTuple):
    """What becomes of latents from each moment to the next."""

    truth_of: Tensor  #: the truth that each latent stands for, int64 (moments, latent); -1 for none
    born: Tensor  #: it stands for a truth, and did not before, bool (moments - 1, latent)
    died: Tensor  #: it stands for none, and did before, bool (moments - 1, latent)
    swapped: Tensor  #: it stands for another truth than before, bool (moments - 1, latent)


def track_truths(rows: Iterable[Tensor], directions: Tensor) -> Tracked:
    """Match latents and truths one to one at each moment, with the largest sum of |cosine|.

    Of 1,024 latents and as many truths a moment takes 0.1 to 0.4 s, the longer the less latents are settled.

    Args:
        rows: Decoder rows (latent, input), moment by moment.
        directions: True directions, (features, input).

    Returns:
        The latent of each truth at each moment, and their |cosine|.

    Raises:
        ValueError: There are no moments, shapes do not fit each other, or a row is not finite.
    """
    latent_of, cosine_of = [], []
    for at in rows:  # a matching holds the rows, and is forgotten
        matching = Matching.of(at, directions)
        latent_of.append(matching.latent_of.cpu())
        cosine_of.append(matching.cosine_of.abs().cpu())
    if not latent_of:
        raise ValueError("truths cannot be tracked without a moment")
    tracked = Tracked(torch.stack(latent_of), torch.stack(cosine_of))
    if not bool(tracked.cosine_of.isfinite().all()):
        raise ValueError("latents cannot be matched with truths: there are rows that are not finite")
    return tracked


def latent_events(tracked: Tracked, latents: int, threshold: float = STANDS_FOR) -> Events:
    """Births, deaths and swaps of latents.

    A latent stands for the truth that it is matched to, where their |cosine| is above a threshold. From one moment to
    the next it is born, dies or swaps, or does none of these. It may die because it turned away, or because another
    latent came nearer to its truth; one that dies may be born again. As many more latents stand for a truth as are
    born without those that die.

    Args:
        tracked: The matching at each moment.
        latents: How many latents there are.
        threshold: Above which |cosine| a latent stands for a truth.

    Returns:
        The truth of each latent at each moment, and what became of it since the moment before.

    Raises:
        ValueError: A latent of the matching is not one of so many.
    """
    if int(tracked.latent_of.max()) >= latents:
        raise ValueError(f"a truth is matched to latent {int(tracked.latent_of.max())}, but there are {latents}")
    moments, features = ((tracked.cosine_of > threshold) & (tracked.latent_of >= 0)).nonzero(as_tuple=True)
    truth_of = torch.full((len(tracked.latent_of), latents), -1)
    truth_of[moments, tracked.latent_of[moments, features]] = features
    before, after = truth_of[:-1], truth_of[1:]
    return Events(
        truth_of,
        born=(before < 0) & (after >= 0),
        died=(before >= 0) & (after < 0),
        swapped=(before >= 0) & (after >= 0) & (before != after),
    )
