"""New codes for those that nothing chooses: vectors of training samples, in whose midst they are chosen again."""

import torch
from torch import Tensor

from ae_lightning.callbacks.new_latents import draw_by_loss
from ae_lightning.models.vqvae import VQVAE
from ae_lightning.nn.precision import like_weights

_CHUNK = 1024  # samples encoded together
_MOST_VECTORS = 1 << 16  # of each codebook, unless it has more codes


def samples_to_draw_from(module: VQVAE, examples: int) -> int:
    """How many samples are enough, at most `examples`: those of a large grid have many vectors each."""
    return min(examples, -(-max(_MOST_VECTORS, module.codes) // module.codebook.vectors_of_a_sample))


def new_codes(
    module: VQVAE,
    x: Tensor,
    unused: Tensor,
    generator: torch.Generator,
    by_loss: bool = True,
    with_replacement: bool = False,
) -> Tensor:
    """Vectors that the codebooks read, drawn for the codes that are unused.

    Args:
        module: In evaluation mode, gradients off.
        x: Samples (n, *input_shape) to draw from.
        unused: (book, code).
        generator: Generator on the CPU.
        by_loss: Whether to draw with probability proportional to the square of a vector's squared distance from its
            code; else each vector is as likely.
        with_replacement: As `draw_by_loss` has it.

    Returns:
        (unused, width), in the order of the books, on the CPU, in float32 or wider.
    """
    parts = [module.quantize(like_weights(module, part)) for part in x.split(_CHUNK)]
    vectors = torch.cat([part.residuals.flatten(0, 1).cpu() for part in parts], dim=1)
    chosen = torch.cat([part.chosen.flatten(0, 1).cpu() for part in parts], dim=1)
    losses = (vectors - chosen).square().sum(-1)
    if not by_loss:
        losses = torch.ones_like(losses)
    new = [
        own[draw_by_loss(of, count, generator, with_replacement)]
        for own, of, count in zip(vectors, losses, unused.sum(-1).tolist(), strict=True)
        if count
    ]
    return torch.cat(new)
