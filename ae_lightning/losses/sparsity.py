"""Sparsity penalties on codes: what is added to the reconstruction loss so that few latents are active.

Codes z have shape (batch, latent) or (instances, batch, latent). Every penalty but the weighted ones is a scalar: the
mean over the batch, summed over instances, so that the gradient of each instance is what it would be if that instance
were trained alone.
Over latents it is a sum or a mean, as each says: libraries differ here, and a weight cannot be carried from one to
the other without multiplying or dividing it by the number of latents. All are computed in float32 or wider.
"""

import math
from typing import Literal

import torch
from torch import Tensor

from ae_lightning.nn.precision import at_least_float32

SparsityPenaltyName = Literal["l1", "kl", "hoyer", "log", "lp"]
"""L1 norm, divergence from a target rate, one minus Hoyer's measure, log-sum, and Σ|z|^p."""

Reduction = Literal["sum", "mean"]
"""What is done over latents."""

_PENALTIES: tuple[SparsityPenaltyName, ...] = ("l1", "kl", "hoyer", "log", "lp")

# Smallest argument of the logarithms of `kl`.
_RATE_MARGIN = 1e-10
# Codes shorter than this have no direction worth speaking of, and a Hoyer gradient of 1 / length.
_SHORTEST = 1e-12
# |z|^p has an infinite slope at zero; shifted by this, its slope is at most p · 1e-4^(p − 1): 50 for p = 1/2.
_LP_SHIFT = 1e-4


def l1(z: Tensor, reduction: Reduction = "sum", *, rectified: bool = False) -> Tensor:
    """L1 norm of the code.

    Args:
        z: Codes (batch, latent) or (instances, batch, latent).
        reduction: Over latents. `sum` is the norm itself, which dictionary learning uses (the toy sparse autoencoder
            after ARENA, with weight 0.2; Bricken et al. 2023, "Towards Monosemanticity"). `mean` is what deep
            sparse autoencoders write as `z.abs().mean()`, and is smaller by a factor of the number of latents.
        rectified: Whether the code is known to be nowhere negative, so that its magnitude need not be taken, which
            costs three passes over a wide code.

    Returns:
        A scalar in the units of z: mean over the batch, sum over instances.

    Raises:
        ValueError: `z` has another number of dimensions, or `reduction` is unknown.
    """
    values = _checked(z)
    return _over_all(values if rectified else values.abs(), reduction)


def weighted_l1(z: Tensor, norms: Tensor | None = None, *, rectified: bool = False) -> Tensor:
    """L1 norm of the code, each latent weighted by the norm of what it writes, Σ |z_i| ‖w_i‖.

    So weighted it does not change when a latent's code is halved and its decoder row doubled, and decoder norms need
    no constraint (Anthropic, April 2024 update). Gated autoencoders apply it to ReLU(π).

    Args:
        z: Codes (batch, latent) or (instances, batch, latent).
        norms: Norms of decoder rows (…, latent), which get a gradient unless they are detached; None weighs all alike.
        rectified: Whether the code is known to be nowhere negative, as for `l1`.

    Returns:
        One value for each instance, (instances,), or a scalar without them: mean over the batch, sum over latents.

    Raises:
        ValueError: `z` has another number of dimensions.
    """
    values = _checked(z)
    return l1_of_sums((values if rectified else values.abs()).sum(dim=-2), values.shape[-2], norms)


def l1_of_sums(sums: Tensor, samples: int, norms: Tensor | None = None) -> Tensor:
    """The same from each latent's sum of |z| over the batch.

    Args:
        sums: Σ|z| (…, latent).
        samples: How many samples they are sums over.
        norms: Norms of decoder rows (…, latent), as for `weighted_l1`.

    Returns:
        One value for each instance, (…,).
    """
    means = sums / samples  # not a mean over z, whose gradient would be an array of its own
    return (means if norms is None else means * norms).sum(dim=-1)


def kl(z: Tensor, target: float = 0.05, reduction: Reduction = "mean") -> Tensor:
    """Divergence of each latent's mean activation from a target rate (Ng 2011, "Sparse autoencoder", CS294A).

    KL(Bernoulli(target) ‖ Bernoulli(p)) in nats, where p is the mean of ReLU(z) over *this* batch: with accumulated
    gradients or several processes, over each piece of it.

    In the logarithms p and 1 − p are not let below 1e-10, so the value is finite for every code and target; for a
    target of exactly 0 or 1 it is the limit, −ln(1 − p) or −ln p. The distance of p from [1e-10, 1] is added, for
    a clamp alone would leave a latent out there without gradient: one whose mean activation is above 1, which is
    no rate at all, is pulled down, and one that is barely above zero on a single sample is pulled up. The slope
    is 1 there and not the 1e10 next to the bounds, which an optimizer's moments would remember for thousands of
    steps. A latent that is nowhere above zero costs about 23 · target nats, and gets no gradient, as ReLU has none.

    Args:
        z: Codes (batch, latent) or (instances, batch, latent), before or after a rectification of their own.
        target: Rate in [0, 1].
        reduction: Over latents: `mean` in the deep sparse module that this follows, `sum` in Ng's notes.

    Returns:
        A scalar in nats: a mean or sum over latents, sum over instances.

    Raises:
        ValueError: `target` is outside [0, 1], `z` has another number of dimensions, or `reduction` is unknown.
    """
    if not 0 <= target <= 1:
        raise ValueError(f"the target rate must lie in [0, 1], but it is {target}")
    rate = torch.relu(_checked(z)).mean(dim=-2)
    inside = rate.clamp(_RATE_MARGIN, 1)
    # 1 − p is bounded as such, because 1 − 1e-10 is 1 in float32.
    cross_entropy = -target * inside.log() - (1 - target) * (1 - inside).clamp(min=_RATE_MARGIN).log()
    outside = (_RATE_MARGIN - rate).clamp(min=0) + (rate - 1).clamp(min=0)
    return _over_latents(cross_entropy - _entropy(target) + outside, reduction).sum()


def hoyer_sparsity(z: Tensor) -> Tensor:
    """Hoyer's measure of sparsity, (√n − ‖z‖₁/‖z‖₂) / (√n − 1) with n latents (Hoyer 2004, JMLR 5:1457).

    It is 1 where a single latent is active, 0 where all have the same magnitude, and does not depend on scale.
    A zero code (of length 1e-12 or less) and a code of one latent are given 0 and no gradient: all their latents are
    equal, and an autoencoder whose codes have collapsed shall not be called sparse.

    Args:
        z: Codes (..., latent); negative values count by their magnitude.

    Returns:
        Measure per code, shape (...), in [0, 1].
    """
    z = at_least_float32(z)
    return hoyer_of_norms(z.abs().sum(dim=-1), torch.linalg.vector_norm(z, dim=-1), z.shape[-1])


def hoyer_of_norms(total: Tensor, length: Tensor, n: int) -> Tensor:
    """The same of codes of n latents whose norms are known.

    Args:
        total: ‖z‖₁ of each code, (...).
        length: ‖z‖₂ of each code, (...).
        n: Latents.

    Returns:
        Measure per code, shape (...), in [0, 1].
    """
    # Asked this way round, a NaN stays one and is seen.
    undefined = length <= _SHORTEST
    ratio = total / torch.where(undefined, 1, length)
    # With one latent the ratio is 1 whatever its value, so any divisor gives 0.
    measure = (math.sqrt(n) - ratio) / (math.sqrt(n) - 1 if n > 1 else 1)
    return torch.where(undefined, 0, measure).clamp(0, 1)


def hoyer(z: Tensor) -> Tensor:
    """One minus Hoyer's measure, so that minimizing it makes codes sparse.

    It does not depend on the scale of the code, and therefore does not shrink activations as L1 does.

    Args:
        z: Codes (batch, latent) or (instances, batch, latent).

    Returns:
        A scalar in [0, 1] per instance: mean over the batch, sum over instances.

    Raises:
        ValueError: `z` has another number of dimensions.
    """
    return _over_samples(1 - hoyer_sparsity(_checked(z)))


def log(z: Tensor, scale: float = 1.0, reduction: Reduction = "sum") -> Tensor:
    """Log-sum penalty: ln(1 + |z| / scale) (Candès, Wakin and Boyd 2008, "Enhancing sparsity by reweighted ℓ1").

    Small activations are pushed to exactly zero as with L1, and large ones are hardly shrunk. Not the ln(1 + z²) of
    Olshausen and Field (1996), whose slope vanishes at zero and so leaves small activations where they are.

    Args:
        z: Codes (batch, latent) or (instances, batch, latent).
        scale: Activation, in the units of z, above which the penalty flattens; the slope at zero is 1 / scale.
        reduction: Over latents.

    Returns:
        A scalar in nats: mean over the batch, sum over instances.

    Raises:
        ValueError: `scale` is not positive, `z` has another number of dimensions, or `reduction` is unknown.
    """
    if not 0 < scale < math.inf:
        raise ValueError(f"the scale of the log penalty must be positive and finite, but it is {scale}")
    return _over_all(torch.log1p(_checked(z).abs() / scale), reduction)


def lp(z: Tensor, p: float = 0.5, reduction: Reduction = "sum") -> Tensor:
    """Sum of |z|^p: L1 for p = 1, and the number of active latents in the limit p → 0.

    Smoothed as (|z| + δ)^p − δ^p with δ = 1e-4 (the shift of Foucart and Lai 2009), since |z|^p has an infinite slope
    at zero. The value is too low by at most δ^p per latent and exact for p = 1; zero costs nothing, and the slope
    is at most p δ^(p−1), and 0 at zero itself as for L1. With 0.5 it is the square-root penalty of sparse
    autoencoders; Karvonen et al. (2024, "Measuring progress in dictionary learning") lower p while training.

    Args:
        z: Codes (batch, latent) or (instances, batch, latent).
        p: Exponent in (0, 1].
        reduction: Over latents.

    Returns:
        A scalar: mean over the batch, sum over instances. The p-th root is not taken.

    Raises:
        ValueError: `p` is outside (0, 1], `z` has another number of dimensions, or `reduction` is unknown.
    """
    if not 0 < p <= 1:
        raise ValueError(f"the exponent p must lie in (0, 1], but it is {p}")
    return _over_all(_shifted_power(_checked(z).abs(), p), reduction)


def weighted_lp(z: Tensor, p: float | Tensor, norms: Tensor | None = None) -> Tensor:
    """Sum of (z_i ‖w_i‖)^p over latents, smoothed as `lp` is: a power of what each latent writes.

    So weighted it does not change when a latent's code is halved and its decoder row doubled.

    Args:
        z: Codes (batch, latent) or (instances, batch, latent), nowhere negative.
        p: Exponent in (0, 1]; as a scalar tensor it may change without the loss being compiled anew.
        norms: Norms of decoder rows (…, latent), which get a gradient unless they are detached; None weighs all alike.

    Returns:
        One value for each instance, (instances,), or a scalar without them: mean over the batch, sum over latents.

    Raises:
        ValueError: `z` has another number of dimensions.
    """
    values = _checked(z)
    powers = _shifted_power(values if norms is None else values * norms.unsqueeze(-2), p)
    return powers.sum(dim=-1).mean(dim=-1)


def sparsity_penalty(
    name: SparsityPenaltyName,
    z: Tensor,
    *,
    reduction: Reduction | None = None,
    target: float = 0.05,
    p: float = 0.5,
    scale: float = 1.0,
) -> Tensor:
    """Return the penalty called `name`; arguments that it does not have are not looked at.

    Args:
        name: `l1`, `kl`, `hoyer`, `log` or `lp`.
        z: Codes (batch, latent) or (instances, batch, latent).
        reduction: Over latents, for all but `hoyer`. None takes each one's own: `mean` for `kl`, else `sum`.
        target: Rate in [0, 1], for `kl`.
        p: Exponent in (0, 1], for `lp`.
        scale: Activation above which it flattens, for `log`.

    Returns:
        A scalar: mean over the batch, sum over instances.

    Raises:
        ValueError: `name` is unknown, or an argument of that penalty is out of range.
    """
    if name == "l1":
        return l1(z, reduction or "sum")
    if name == "kl":
        return kl(z, target, reduction or "mean")
    if name == "hoyer":
        return hoyer(z)
    if name == "log":
        return log(z, scale, reduction or "sum")
    if name == "lp":
        return lp(z, p, reduction or "sum")
    raise ValueError(f"unknown sparsity penalty {name!r}; known are {', '.join(_PENALTIES)}")


def _checked(z: Tensor) -> Tensor:
    if z.ndim not in (2, 3):
        raise ValueError(
            f"codes must have shape (batch, latent) or (instances, batch, latent), but theirs is {tuple(z.shape)}"
        )
    return at_least_float32(z)


def _shifted_power(values: Tensor, p: float | Tensor) -> Tensor:
    """(v + δ)^p − δ^p of values that are nowhere negative."""
    shift: float | Tensor = _LP_SHIFT**p
    return (values + _LP_SHIFT).pow(p) - shift


def _over_latents(values: Tensor, reduction: Reduction) -> Tensor:
    if reduction == "sum":
        return values.sum(dim=-1)
    if reduction == "mean":
        return values.mean(dim=-1)
    raise ValueError(f"unknown reduction {reduction!r}; known are sum, mean")


def _over_all(values: Tensor, reduction: Reduction) -> Tensor:
    """From (…, batch, latent) to a scalar in one pass: mean over the batch, sum over instances."""
    if reduction not in ("sum", "mean"):
        raise ValueError(f"unknown reduction {reduction!r}; known are sum, mean")
    batch, latents = values.shape[-2:]
    return values.sum() / (batch * (latents if reduction == "mean" else 1))


def _over_samples(values: Tensor) -> Tensor:
    """From (batch,) or (instances, batch) to a scalar."""
    return values.mean(dim=-1).sum()


def _entropy(rate: float) -> float:
    """Entropy of a coin in nats; 0 · ln 0 is 0."""
    return -sum(q * math.log(q) for q in (rate, 1 - rate) if q > 0)
