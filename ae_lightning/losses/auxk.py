"""AuxK: dead latents learn to reconstruct what the living leave over (Gao et al. 2024, 2406.04093)."""

import torch
from torch import Tensor

from ae_lightning.nn.affine import product
from ae_lightning.nn.precision import at_least_float32

# A spread so many roundings wide is none: the mean over the batch is no more exact than that.
_ROUNDINGS = 64


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
    residual = at_least_float32(residual.detach())
    estimate = at_least_float32(product(_code(scores, dead, k_aux, rectify), decoder_vectors))
    error = (residual - estimate).square().sum(dim=(-2, -1))
    variance = (residual - residual.mean(dim=-2, keepdim=True)).square().sum(dim=(-2, -1))
    rounding = (_ROUNDINGS * torch.finfo(residual.dtype).eps) ** 2 * residual.square().sum(dim=(-2, -1))
    # Asked this way round, a NaN stays one and is seen.
    undefined = (variance <= rounding) | ~dead.any(dim=-1)
    return torch.where(undefined, 0, error / torch.where(undefined, 1, variance))


def _code(scores: Tensor, dead: Tensor, k_aux: int, rectify: bool) -> Tensor:
    """Scores of the k_aux best of the dead for each sample, and 0 elsewhere."""
    eligible = dead.unsqueeze(-2).expand_as(scores)
    with torch.no_grad():
        best = scores.masked_fill(~eligible, -torch.inf).topk(min(k_aux, scores.shape[-1]), dim=-1, sorted=False)
        taken = torch.zeros_like(scores, dtype=torch.bool).scatter_(-1, best.indices, True) & eligible
    code = scores.masked_fill(~taken, 0)
    return code.relu() if rectify else code
