"""AuxK: dead latents learn to explain what the living ones leave over."""

import torch
from torch import Tensor

from ae_lightning.nn.precision import at_least_float32


def auxk(
    scores: Tensor, dead: Tensor, residual: Tensor, decoder_vectors: Tensor, k_aux: int, rectify: bool = False
) -> Tensor:
    """Error of a reconstruction of the residual by the dead latents that come nearest to firing.

    ê = Σ z_i w_i over the k_aux dead latents of each sample with the largest pre-activations, which are also their
    values z_i; the decoder's bias takes no part. The value is Σ‖e − ê‖² / Σ‖e − ē‖², sums over the batch, ē its mean:
    what a mean residual would leave counts as 1. The residual e gets no gradient. It is computed over each process's
    part of a batch, and each of accumulated batches, for itself.

    Source: Gao et al. (2024), "Scaling and evaluating sparse autoencoders", appendix A.2. Their code rectifies z_i, so
    that a dead latent below zero gets no gradient.

    Args:
        scores: What decides whether a latent fires (…, batch, latent).
        dead: Which latents are dead (…, latent).
        residual: Target minus reconstruction (…, batch, output).
        decoder_vectors: What each latent writes (…, latent, output).
        k_aux: Latents of a sample that take part; fewer where fewer are dead.
        rectify: Whether values below zero count as zero.

    Returns:
        The ratio, (…): one for each instance. Exactly 0, and without a gradient, where no latent is dead or where all
        samples have the same residual.
    """
    scores, residual = at_least_float32(scores), at_least_float32(residual).detach()
    masked = scores.masked_fill(~dead.unsqueeze(-2), -torch.inf)
    values, places = masked.topk(min(k_aux, scores.shape[-1]), dim=-1)
    values = torch.where(values.isfinite(), values, 0.0)
    z = torch.zeros_like(scores).scatter(-1, places, values.relu() if rectify else values)
    error = (residual - z @ at_least_float32(decoder_vectors)).square().sum((-2, -1))
    spread = (residual - residual.mean(-2, keepdim=True)).square().sum((-2, -1))
    defined = dead.any(-1) & (spread > 0)
    return torch.where(defined, error / torch.where(defined, spread, 1.0), 0.0)
