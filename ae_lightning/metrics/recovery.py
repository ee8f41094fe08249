"""How well learned directions recover known ones: the features that generated the data, where they are known.

Learned rows have shape (..., latent, input), as ``encoder_vectors`` and ``decoder_vectors`` have it, and true rows
(..., feature, input); true rows without instance dimensions are shared by all instances. Only directions count,
not lengths. A row that is exactly zero (a dead latent whose weights have decayed, or a feature that a toy model
does not represent) has cosine 0 with everything. Answers are per instance, shape (...), but for `recovery_scores`,
which puts them together.

These are functions and not ``torchmetrics.Metric`` classes, since there is nothing to accumulate: they compare
parameters, which are the same on every batch and on every process.
"""

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor


def cosine_matrix(learned: Tensor, true: Tensor) -> Tensor:
    """Cosine of every learned row with every true row.

    Args:
        learned: Rows of shape (..., latent, input).
        true: Rows of shape (..., feature, input).

    Returns:
        Cosines of shape (..., latent, feature) in [-1, 1], float32 or wider; 0 where either row is zero.

    Raises:
        ValueError: If the shapes do not fit each other.
    """
    _check_shapes(learned, true)
    dtype = torch.promote_types(torch.promote_types(learned.dtype, true.dtype), torch.float32)
    return (_unit_rows(learned.detach().to(dtype)) @ _unit_rows(true.detach().to(dtype)).mT).clamp(-1, 1)


def mmcs(learned: Tensor, true: Tensor) -> Tensor:
    """Mean max cosine similarity: mean over true features of the largest cosine with any latent.

    After Sharkey, Braun and Millidge (2022, "Taking features out of superposition with sparse autoencoders"). The
    sign counts: a latent opposite to a feature does not represent it. Each feature chooses for itself, so that one
    latent may serve two features, and *superfluous latents are never punished*: a dictionary of many duplicates,
    or of very many random rows, scores at least as well as one without them. Read it beside `mcc`, which matches
    one to one, and `duplicates`.

    Args:
        learned: Rows of shape (..., latent, input).
        true: Rows of shape (..., feature, input).

    Returns:
        Mean cosine per instance, shape (...), in [-1, 1].

    Raises:
        ValueError: If the shapes do not fit each other.
    """
    return _best_per_feature(learned, true).mean(dim=-1)


def mcc(learned: Tensor, true: Tensor) -> Tensor:
    """Mean correlation coefficient: mean |cosine| under the best one-to-one matching of latents and features.

    The matching is the one with the largest sum (``scipy.optimize.linear_sum_assignment``, on the CPU). The sign
    does not count, as in the literature on identifiability, where this measure comes from (Hyvärinen and Morioka
    2016). The mean is over all true features: where there are fewer latents than features, those left over count 0.

    Args:
        learned: Rows of shape (..., latent, input).
        true: Rows of shape (..., feature, input).

    Returns:
        Mean |cosine| per instance, shape (...), in [0, 1]; NaN for an instance with rows that are not finite.

    Raises:
        ValueError: If the shapes do not fit each other.
    """
    cosines = cosine_matrix(learned, true).abs()
    instances = cosines.reshape(-1, *cosines.shape[-2:])
    # One copy for all instances: each would wait for the device.
    matched = cosines.new_tensor([matched_sum(one) for one in instances.cpu()])
    return matched.reshape(cosines.shape[:-2]) / cosines.shape[-1]


def matched_latents(cosines: Tensor) -> tuple[Tensor, Tensor]:
    """The best one-to-one matching of features and latents, that of `mcc`.

    Args:
        cosines: Cosines of features with latents, (features, latent), all finite.

    Returns:
        Numbers of features, rising, and of the latents matched with them, int64 (min(features, latent),) each.

    Raises:
        ValueError: If a cosine is not finite.
    """
    from scipy.optimize import linear_sum_assignment  # scikit-learn brings it; slow to import

    if not bool(cosines.isfinite().all()):
        raise ValueError("latents cannot be matched with features: there are rows that are not finite")
    features, latents = linear_sum_assignment(cosines.detach().cpu().abs().double().numpy(), maximize=True)
    return torch.from_numpy(features).long(), torch.from_numpy(latents).long()


def matched_sum(cosines: Tensor) -> float:
    """Σ |cosine| over the pairs of `matched_latents`; NaN where a cosine is not finite."""
    if not cosines.isfinite().all():
        return float("nan")
    return float(cosines.double()[matched_latents(cosines)].abs().sum())


def fraction_recovered(learned: Tensor, true: Tensor, threshold: float = 0.95) -> Tensor:
    """Fraction of true features that some latent points along.

    Args:
        learned: Rows of shape (..., latent, input).
        true: Rows of shape (..., feature, input).
        threshold: A feature is recovered where its largest cosine is greater than this; the sign counts.

    Returns:
        Fraction per instance, shape (...), in [0, 1].

    Raises:
        ValueError: If the shapes do not fit each other, or `threshold` is outside [0, 1).
    """
    _check_threshold(threshold)
    return (_best_per_feature(learned, true) > threshold).float().mean(dim=-1)


def fully_recovered(learned: Tensor, true: Tensor, threshold: float = 0.95) -> Tensor:
    """Whether all true features are recovered, in the sense of `fraction_recovered`.

    Args:
        learned: Rows of shape (..., latent, input).
        true: Rows of shape (..., feature, input).
        threshold: As in `fraction_recovered`.

    Returns:
        Boolean per instance, shape (...).

    Raises:
        ValueError: If the shapes do not fit each other, or `threshold` is outside [0, 1).
    """
    _check_threshold(threshold)
    return (_best_per_feature(learned, true) > threshold).all(dim=-1)


def duplicates(learned: Tensor, true: Tensor, threshold: float = 0.95) -> Tensor:
    """Number of latents that share their feature with another latent.

    A latent has a feature if its largest cosine with any is greater than `threshold`. All that share one are
    counted, the first as well: three latents on one feature are three, not two.

    Args:
        learned: Rows of shape (..., latent, input).
        true: Rows of shape (..., feature, input).
        threshold: As in `fraction_recovered`; the sign counts.

    Returns:
        int64 count per instance, shape (...).

    Raises:
        ValueError: If the shapes do not fit each other, or `threshold` is outside [0, 1).
    """
    _check_threshold(threshold)
    cosines = cosine_matrix(learned, true)
    best, feature = cosines.max(dim=-1)
    has_one = (best > threshold).long()
    latents_of = has_one.new_zeros(cosines[..., 0, :].shape).scatter_add(-1, feature, has_one)
    return latents_of.where(latents_of > 1, 0).sum(dim=-1)


def recovery_scores(learned: Tensor, true: Tensor) -> dict[str, float]:
    """How well the features are recovered, as numbers for a log or a table; means are over instances.

    Args:
        learned: Rows of shape (..., latent, input).
        true: Rows of shape (features, input), shared by all instances.

    Returns:
        `mcc`, `mmcs`, `fraction_recovered`: means of these functions. `fully_recovered`: fraction of instances that
        recover all features, and `fully_recovered_instances` their number. `instances`: how many there are, 1 for
        rows without instances. `duplicates`: mean number of latents that share their feature.

    Raises:
        ValueError: If the shapes do not fit each other.
    """
    complete = fully_recovered(learned, true)
    return {
        "mcc": float(mcc(learned, true).mean()),
        "mmcs": float(mmcs(learned, true).mean()),
        "fraction_recovered": float(fraction_recovered(learned, true).mean()),
        "fully_recovered": float(complete.double().mean()),
        "fully_recovered_instances": float(complete.sum()),
        "instances": float(complete.numel()),
        "duplicates": float(duplicates(learned, true).double().mean()),
    }


def together(scores: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """What `recovery_scores` says of several instances, from what it says of each; empty of none."""
    if not scores:
        return {}
    sums = {name: math.fsum(each[name] for each in scores) for name in scores[0]}
    return {name: total if name in _COUNTS else total / len(scores) for name, total in sums.items()}


_COUNTS = ("fully_recovered_instances", "instances")


def _best_per_feature(learned: Tensor, true: Tensor) -> Tensor:
    return cosine_matrix(learned, true).amax(dim=-2)


def _unit_rows(rows: Tensor) -> Tensor:
    # Divided by the largest entry first, for the squares of very small entries would be zero.
    largest = rows.abs().amax(dim=-1, keepdim=True)
    return F.normalize(rows / torch.where(largest == 0, 1, largest), dim=-1)


def _check_shapes(learned: Tensor, true: Tensor) -> None:
    if learned.ndim < 2 or true.ndim < 2 or learned.shape[-1] != true.shape[-1]:
        raise ValueError(
            f"learned rows (..., latent, input) of shape {tuple(learned.shape)} and true rows (..., feature, input) "
            f"of shape {tuple(true.shape)} must have the same input size"
        )
    try:
        torch.broadcast_shapes(learned.shape[:-2], true.shape[:-2])
    except RuntimeError:
        raise ValueError(
            f"learned rows of shape {tuple(learned.shape)} and true rows of shape {tuple(true.shape)} "
            "have different numbers of instances"
        ) from None


def _check_threshold(threshold: float) -> None:
    if not 0 <= threshold < 1:
        raise ValueError(f"the cosine of a recovered feature must lie in [0, 1), but the threshold is {threshold}")
