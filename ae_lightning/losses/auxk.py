"""AuxK: dead latents learn to reconstruct what the living leave over (Gao et al. 2024, 2406.04093)."""

import torch
from torch import Tensor

from ae_lightning.nn.affine import affine, product
from ae_lightning.nn.dictionary import Dictionary
from ae_lightning.nn.precision import at_least_float32
from ae_lightning.nn.sparse_code import SparseCode
from ae_lightning.nn.sparse_encoding import encode_selected
from ae_lightning.nn.sparse_products import decode_sparse
from ae_lightning.nn.topk import TopK

# A spread so many roundings wide is none: the mean over the batch is no more exact than that.
_ROUNDINGS = 64
# Sparse products take less time than dense ones where there are so many latents for each that is taken.
_WORTH_SPARSE = 16


def auxk(
    scores: Tensor, dead: Tensor, residual: Tensor, decoder_vectors: Tensor, k_aux: int, rectify: bool = False
) -> Tensor:
    """Squared error of the residual's reconstruction from dead latents, in units of the residual's variance.

    For each sample the k_aux largest *raw* pre-activations among the dead are taken as a code, ê = Σ code · row
    without the decoder's bias, and the value is Σ‖e − ê‖² / Σ‖e − mean e‖² over the batch (appendix A.2 of the paper,
    and the code of OpenAI and of dictionary_learning, which divides likewise). The residual gets no gradient. Where
    fewer latents are dead, fewer are taken. The cost is the same however many are dead, for asking would wait for the
    device: three products of the size of a decoder's.

    Args:
        scores: Raw pre-activations (…, batch, latent), before any rectification.
        dead: Which latents are dead, (…, latent).
        residual: e = x − x̂, (…, batch, output).
        decoder_vectors: Rows (…, latent, output).
        k_aux: Dead latents taken for each sample; all, if there are not so many latents.
        rectify: Whether those taken pass a ReLU (OpenAI), so that pre-activations below zero get no gradient.

    Returns:
        One value for each instance, (…): computed in float32 or wider, from 0 for a perfect reconstruction to 1 or
        more for a useless one. Exactly 0, without gradient, where no latent is dead or the residual is the same for
        all samples.
    """
    estimate = product(_code(scores, dead, k_aux, rectify), decoder_vectors)
    return _relative_error(estimate, residual, dead.any(dim=-1))


def auxk_of_dead(
    x: Tensor, dictionary: Dictionary, dead: Tensor, residual: Tensor, k_aux: int, rectify: bool = False
) -> Tensor:
    """The same value from a dictionary's dead latents alone, at a cost that follows their number.

    How many are dead is asked of the device. Scores are the dictionary's pre-activations.

    Args:
        x: What the encoder reads, (batch, input) or (…, batch, input).
        dictionary: Encoder and decoder.
        dead: Which latents are dead, (…, latent).
        residual: e = x − x̂, (…, batch, output).
        k_aux: Dead latents taken for each sample, at most.
        rectify: Whether those taken pass a ReLU.

    Returns:
        One value for each instance, (…).
    """
    center = dictionary.b_dec if dictionary.centered else None
    read = x if center is None else x - center.unsqueeze(-2)
    members = zip(
        read.expand(*dead.shape[:-1], *read.shape[-2:]).reshape(-1, *read.shape[-2:]),
        dictionary.parts(dead),
        strict=True,
    )
    estimates = [_from_dead(mine, *part, k_aux, rectify) for mine, part in members]
    return _relative_error(torch.stack(estimates).view(residual.shape), residual, dead.any(dim=-1))


def _from_dead(x: Tensor, weight: Tensor, bias: Tensor | None, rows: Tensor, k_aux: int, rectify: bool) -> Tensor:
    """ê (batch, output) of a single dictionary of dead latents."""
    number = weight.shape[-1]
    if number >= _WORTH_SPARSE * k_aux:
        code = encode_selected(TopK(k_aux, number), x, weight, bias)
        return decode_sparse(SparseCode(code.values.relu(), code.places) if rectify else code, rows)
    everyone = torch.ones(number, dtype=torch.bool, device=x.device)
    return product(_code(affine(x, weight, bias), everyone, k_aux, rectify), rows)


def _relative_error(estimate: Tensor, residual: Tensor, any_dead: Tensor) -> Tensor:
    residual, estimate = at_least_float32(residual.detach()), at_least_float32(estimate)
    error = (residual - estimate).square().sum(dim=(-2, -1))
    variance = (residual - residual.mean(dim=-2, keepdim=True)).square().sum(dim=(-2, -1))
    rounding = (_ROUNDINGS * torch.finfo(residual.dtype).eps) ** 2 * residual.square().sum(dim=(-2, -1))
    # Asked this way round, a NaN stays one and is seen.
    undefined = (variance <= rounding) | ~any_dead
    return torch.where(undefined, 0, error / torch.where(undefined, 1, variance))


def _code(scores: Tensor, dead: Tensor, k_aux: int, rectify: bool) -> Tensor:
    """Scores of the k_aux best of the dead for each sample, and 0 elsewhere."""
    eligible = dead.unsqueeze(-2).expand_as(scores)
    with torch.no_grad():
        best = scores.masked_fill(~eligible, -torch.inf).topk(min(k_aux, scores.shape[-1]), dim=-1, sorted=False)
        taken = torch.zeros_like(scores, dtype=torch.bool).scatter_(-1, best.indices, True) & eligible
    code = scores.masked_fill(~taken, 0)
    return code.relu() if rectify else code
