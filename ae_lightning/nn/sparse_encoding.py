"""Encoding where only the latents that are kept are computed with gradients, from some samples at a time."""

from collections.abc import Iterator

import torch
from torch import Tensor

from ae_lightning.nn.active_latents import ActiveLatents
from ae_lightning.nn.affine import affine
from ae_lightning.nn.sparse_code import SparseCode
from ae_lightning.nn.sparse_products import known_at

# Pre-activations that are computed at once: 16 MiB in float32. What is larger the allocator gives back to the system
# each time, and to be given new memory costs as much as a half of the product that fills it.
_BLOCK = 1 << 22


def encode_selected(
    activation: ActiveLatents,
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    center: Tensor | None = None,
    norms: Tensor | None = None,
) -> SparseCode:
    """Pre-activations (x − center) W_enc + b_enc of the latents that an activation keeps; they may be below zero.

    Args:
        activation: What selects.
        x: (batch, input), shared by all instances, or (…, batch, input).
        weight: W_enc (…, input, latent).
        bias: b_enc (…, latent), or None.
        center: (…, input), or None.
        norms: Norms (…, latent) of the decoder's rows, where latents are compared by what they write.
    """
    *lead, _, width = weight.shape
    code = activation.select(_blocks(x, weight, bias, center), norms, (*lead, x.shape[-2], width))
    return SparseCode(known_at(code.values, code.places, x, weight, bias, center), code.places)


def _blocks(x: Tensor, weight: Tensor, bias: Tensor | None, center: Tensor | None) -> Iterator[tuple[int, int, Tensor]]:
    """Pre-activations of some samples at a time; see `active_latents.Blocks`."""
    rows = x if center is None else x - center.unsqueeze(-2)
    if torch.is_autocast_enabled(x.device.type):  # cast once, and not for each block
        weight = weight.to(torch.get_autocast_dtype(x.device.type))
    width = weight.shape[-1]
    biases = None if bias is None else bias.reshape(-1, width)
    size = max(1, _BLOCK // width)
    for instance, own in enumerate(weight.reshape(-1, *weight.shape[-2:])):
        mine = rows[instance] if rows.ndim == 3 else rows
        to_latents = None if biases is None else biases[instance]
        for start in range(0, len(mine), size):
            yield instance, start, affine(mine[start : start + size], own, to_latents)
