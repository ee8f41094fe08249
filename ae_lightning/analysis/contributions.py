"""What each latent of a shallow autoencoder adds to one reconstruction: x̂ = Σᵢ zᵢ W_dec[i] + b_dec."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Contributions(NamedTuple):
    """A reconstruction, taken apart. All of one input, before an output activation."""

    latents: Tensor  #: the k latents that add most by norm, the largest first, int64 (k,)
    codes: Tensor  #: their codes zᵢ, none of them zero, (k,)
    parts: Tensor  #: what each of them adds, zᵢ W_dec[i], (k, input)
    rest: Tensor  #: what all other active latents add together, (input,)
    rest_count: int  #: how many these are
    bias: Tensor  #: b_dec, (input,)

    @property
    def total(self) -> Tensor:
        """The sum of bias, parts and rest, (input,): the reconstruction before an output activation."""
        return self.bias + self.parts.sum(dim=0) + self.rest


def contributions(z: Tensor, decoder_vectors: Tensor, decoder_bias: Tensor, most: int = 8) -> Contributions:
    """Take the reconstruction of one input apart into what each active latent adds to it.

    A latent is active where its code is not zero; a code may be negative. The contribution of latent i is
    zᵢ W_dec[i], and latents of equal norm of it are in the order of their numbers. Where the model has an output
    activation, such as a sigmoid, it is applied after the sum: what is taken apart here is its argument.

    Args:
        z: The code of one input, (latent,).
        decoder_vectors: W_dec, a row per latent, (latent, input): ``model.decoder_vectors`` of one instance.
        decoder_bias: b_dec, (input,).
        most: How many latents to list singly at most; the others are summed.

    Returns:
        The contributions, without gradients, on the device of ``z``.

    Raises:
        ValueError: If a shape does not fit, or ``most`` is less than 1.
    """
    z, vectors, bias = z.detach(), decoder_vectors.detach(), decoder_bias.detach()
    if vectors.ndim != 2 or z.shape != vectors.shape[:1] or bias.shape != vectors.shape[1:]:
        raise ValueError(
            "the code of one input (latent,), decoder vectors (latent, input) and a bias (input,) are needed, but "
            f"theirs are {tuple(z.shape)}, {tuple(vectors.shape)} and {tuple(bias.shape)}; choose one of each"
        )
    if most < 1:
        raise ValueError(f"at least 1 latent must be listed, but most is {most}")
    active = z.nonzero().squeeze(1)
    parts = z[active, None] * vectors[active]
    order = torch.argsort(torch.linalg.vector_norm(parts.float(), dim=1), descending=True, stable=True)
    listed, others = order[:most], order[most:]
    return Contributions(
        active[listed], z[active[listed]], parts[listed], parts[others].sum(0), len(others), bias.clone()
    )
