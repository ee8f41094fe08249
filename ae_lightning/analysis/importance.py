"""How much each unit of a shallow autoencoder matters: by its weights, and by what is lost without it.

Two measures. The *importance* of a unit is read off its weights and its mean activation, as in the
overcomplete experiment; it says how loud a unit is. The *causal importance* is measured: by how much the squared
error grows when the unit alone is switched off. A loud unit whose work others do as well has little of the second.

All is of one model: of a model with instances, choose one. Errors are squared errors *per pixel*, the mean over
samples and pixels. Answers have no gradients and are float64 where they are measured errors.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

# Samples at once: bounds the memory beside the data to some tens of MB.
_SAMPLES = 1024
_PAIRED_SAMPLES = 256


def unit_importance(encoder_vectors: Tensor, decoder_vectors: Tensor, mean_activation: Tensor) -> Tensor:
    """‖W_enc[i]‖ · mean|zᵢ| · ‖W_dec[i]‖: how much a unit reads, times how active it is, times how much it writes.

    After the experiment "Gradient descent bias in overcomplete autoencoders". A rectified unit that reads c
    times as much and writes 1/c of it computes the same, but has c times this importance, where its causal
    importance stays. Leading dimensions are instances.

    Args:
        encoder_vectors: What each unit reads, (…, latent, input).
        decoder_vectors: What each unit writes, (…, latent, output); the output may have another width.
        mean_activation: Mean over samples of |zᵢ|, not of zᵢ, (…, latent).

    Returns:
        (…, latent), at least 0, float32 or wider, on the device of the weights; NaN where something is NaN.

    Raises:
        ValueError: If the shapes do not fit each other, or a mean activation is negative.
    """
    encoder, decoder, activation = _wide(encoder_vectors), _wide(decoder_vectors), _wide(mean_activation)
    if encoder.ndim < 2 or not encoder.shape[:-1] == decoder.shape[:-1] == activation.shape:
        raise ValueError(
            "encoder and decoder vectors (…, latent, width) and mean activations (…, latent) are needed, but theirs "
            f"are {tuple(encoder.shape)}, {tuple(decoder.shape)} and {tuple(activation.shape)}"
        )
    if bool((activation < 0).any()):
        raise ValueError("a mean activation is negative: the mean of |z| is needed, not that of z")
    return torch.linalg.vector_norm(encoder, dim=-1) * activation * torch.linalg.vector_norm(decoder, dim=-1)


def order(importance: Tensor) -> Tensor:
    """Units in the order of their importance, the most important first.

    Args:
        importance: Any number for each unit, (…, latent).

    Returns:
        int64 indices (…, latent). Units of equal importance are in the order of their numbers; NaN comes last.
    """
    ranked = importance.detach()
    if ranked.is_floating_point():  # torch takes NaN for the largest of all
        ranked = ranked.nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)
    return torch.argsort(ranked, dim=-1, descending=True, stable=True)


def causal_importance(x: Tensor, z: Tensor, decoder_vectors: Tensor, decoder_bias: Tensor) -> Tensor:
    """Increase of the squared error when one unit is switched off, its code set to 0, for each unit: exactly.

    For a linear decoder x̂ = Σᵢ zᵢ wᵢ + b, also a tied or a centered one. Without unit i the residual r = x − x̂
    becomes r + zᵢ wᵢ, so that the squared error of a sample grows by 2 zᵢ ⟨r, wᵢ⟩ + zᵢ² ‖wᵢ‖². All units take two
    matrix products. The numbers of several units do *not* add up to what they are worth together:
    `error_by_removal` measures that. Where the decoder ends in an activation, use `ablation_importance`.

    Args:
        x: Samples as the model sees them, flat, (n, input).
        z: Their codes, (n, latent).
        decoder_vectors: What each unit writes, (latent, input).
        decoder_bias: (input,).

    Returns:
        float64 (latent,), squared error per pixel, mean over samples; negative where the reconstruction is better
        without the unit. On the device of the codes, but on the CPU for Apple's GPUs.

    Raises:
        ValueError: If the shapes do not fit each other, or there are no samples.
    """
    x, z, vectors, bias = _checked(x, z, decoder_vectors, decoder_bias)
    moved = torch.zeros_like(vectors)  # Σ zᵢ r over samples
    squares = vectors.new_zeros(len(vectors))  # Σ zᵢ² over samples
    for samples, codes in _pieces(x, z):
        moved += codes.mT @ (samples - torch.addmm(bias, codes, vectors))
        squares += codes.square().sum(dim=0)
    increase = 2 * (moved * vectors).sum(dim=1) + squares * vectors.square().sum(dim=1)
    return increase / x.numel()


def ablation_importance(x: Tensor, z: Tensor, decode: Callable[[Tensor], Tensor], chunk: int = 512) -> Tensor:
    """What `causal_importance` measures, for any decoder: by decoding without each unit in turn.

    Only where a unit's code is not exactly zero is there anything to switch off, so that a sparse code takes a
    fraction of the n · latent decodings of a dense one. The decoder must treat every sample for itself: put a
    model with batch statistics or dropout in evaluation mode first.

    Args:
        x: Samples as the decoder gives them, (n, ...).
        z: Their codes, (n, latent).
        decode: Reconstructions (m, ...) of codes (m, latent), such as the `decode` of a model.
        chunk: How many codes to decode at once.

    Returns:
        float64 (latent,), squared error per pixel, mean over samples, as `causal_importance` has it. Codes that are
        decoded in float32 leave it a rounding of some 1e-8 of the whole error.

    Raises:
        ValueError: If the shapes do not fit each other, there are no samples, or ``chunk`` is less than 1.
    """
    if z.ndim != 2 or len(z) == 0 or len(x) != len(z):
        raise ValueError(
            "samples (n, ...) and as many codes (n, latent) with n > 0 are needed, but theirs are "
            f"{tuple(x.shape)} and {tuple(z.shape)}; of several instances, choose one"
        )
    if chunk < 1:
        raise ValueError(f"at least 1 code must be decoded at once, but chunk is {chunk}")
    x, z = x.detach(), z.detach()
    total = _wide(z.new_zeros(z.shape[1]), torch.float64)
    for start in range(0, len(z), _PAIRED_SAMPLES):
        samples, codes = x[start : start + _PAIRED_SAMPLES], z[start : start + _PAIRED_SAMPLES]
        whole = _squared_errors(samples, codes, decode)
        # All pairs of a sample and a unit that is active on it.
        for which, unit in zip(*(part.split(chunk) for part in codes.nonzero(as_tuple=True)), strict=True):
            without = codes[which].scatter_(1, unit[:, None], 0)
            errors = _squared_errors(samples[which], without, decode)
            total.index_add_(0, unit.to(total.device), errors - whole[which.to(total.device)])
    return total / x.numel()


def rank_correlation(a: Any, b: Any) -> float:
    """Spearman's rank correlation of two lists of numbers (``scipy.stats.spearmanr``); ties get their mean rank.

    Args:
        a: Numbers (n,), tensor or array.
        b: Numbers (n,).

    Returns:
        Correlation in [-1, 1]; NaN where a list is constant, and so has no order, or holds a NaN.

    Raises:
        ValueError: If the lists differ in length, have more than one dimension, or fewer than two numbers.
    """
    from scipy.stats import ConstantInputWarning, spearmanr  # slow to import

    first, second = _numbers(a), _numbers(b)
    if first.ndim != 1 or first.shape != second.shape or len(first) < 2:
        raise ValueError(
            "two lists of equally many numbers, at least 2, are needed, but theirs are "
            f"{first.shape} and {second.shape}"
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConstantInputWarning)
        return float(spearmanr(first, second).statistic)


def error_by_removal(
    x: Tensor,
    z: Tensor,
    decoder_vectors: Tensor,
    decoder_bias: Tensor,
    order: Tensor | Sequence[int],
    counts: Sequence[int],
) -> Tensor:
    """Squared error when the first k units of an order are switched off together, for each k.

    For a linear decoder, as `causal_importance`. Many counts cost little more than one.

    Args:
        x: Samples as the model sees them, flat, (n, input).
        z: Their codes, (n, latent).
        decoder_vectors: What each unit writes, (latent, input).
        decoder_bias: (input,).
        order: Numbers of units, the first to be removed first, each at most once; as `order` gives them.
        counts: How many to remove, each from 0 to the length of ``order``, in any order.

    Returns:
        float64 (len(counts),), squared error per pixel, mean over samples.

    Raises:
        ValueError: If the shapes do not fit each other, there are no samples, ``order`` holds a unit that does
            not exist or one twice, or a count is out of its range.
    """
    x, z, vectors, bias = _checked(x, z, decoder_vectors, decoder_bias)
    removed = torch.as_tensor(order, dtype=torch.long, device=z.device)
    _check_order(removed, len(vectors), counts)
    steps = sorted(set(counts))
    errors = dict.fromkeys(steps, 0.0)
    for samples, codes in _pieces(x, z):
        residual = samples - torch.addmm(bias, codes, vectors)
        for before, after in zip([0, *steps], steps, strict=False):
            units = removed[before:after]
            residual.addmm_(codes[:, units], vectors[units])
            errors[after] += float(residual.square().sum())
    return torch.tensor([errors[count] / x.numel() for count in counts], dtype=torch.float64, device=z.device)


def _wide(values: Tensor, least: torch.dtype = torch.float32) -> Tensor:
    """Detached, in a type at least as wide as another. Apple's GPUs have no float64: there it goes to the CPU."""
    values = values.detach()
    if values.device.type == "mps" and least == torch.float64:
        values = values.cpu()
    return values.to(torch.promote_types(values.dtype, least))


def _checked(x: Tensor, z: Tensor, vectors: Tensor, bias: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Samples and codes detached, weights also float64, when all shapes fit."""
    shapes = [tuple(part.shape) for part in (x, z, vectors, bias)]
    if vectors.ndim == 2 and x.ndim == 2 and len(x) > 0:
        latent, width = shapes[2]
        if shapes == [(len(x), width), (len(x), latent), (latent, width), (width,)]:
            codes = z.detach().cpu() if z.device.type == "mps" else z.detach()
            return x.detach().to(codes.device), codes, _wide(vectors, torch.float64), _wide(bias, torch.float64)
    raise ValueError(
        "samples (n, input), codes (n, latent), decoder vectors (latent, input) and a bias (input,) with n > 0 are "
        f"needed, but theirs are {', '.join(map(str, shapes))}; flatten samples, and of several instances choose one"
    )


def _pieces(x: Tensor, z: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Samples and their codes in float64, some at a time."""
    for samples, codes in zip(x.split(_SAMPLES), z.split(_SAMPLES), strict=True):
        yield samples.double(), codes.double()


@torch.no_grad()
def _squared_errors(x: Tensor, z: Tensor, decode: Callable[[Tensor], Tensor]) -> Tensor:
    """Sum of squared errors of each sample, float64 (n,)."""
    decoded = decode(z)
    if decoded.shape != x.shape:
        raise ValueError(
            f"samples of shape {tuple(x.shape)} are decoded to {tuple(decoded.shape)}: give samples as the decoder does"
        )
    return _wide((decoded - x).flatten(1).square().sum(dim=1), torch.float64)


def _numbers(values: Any) -> np.ndarray[Any, Any]:
    return values.detach().cpu().double().numpy() if isinstance(values, Tensor) else np.asarray(values, dtype=float)


def _check_order(removed: Tensor, latent: int, counts: Sequence[int]) -> None:
    if removed.ndim != 1 or len(removed.unique()) < len(removed):
        raise ValueError("an order must be a list of units, each at most once")
    if len(removed) and not 0 <= int(removed.min()) <= int(removed.max()) < latent:
        raise ValueError(f"an order must hold numbers of units from 0 to {latent - 1}")
    if any(not 0 <= count <= len(removed) for count in counts):
        raise ValueError(f"counts must lie between 0 and {len(removed)}, the length of the order, but are {counts}")
