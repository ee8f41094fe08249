"""How evenly the codes of a codebook are chosen, and how many of them are chosen at all."""

import torch
from torch import Tensor

from ae_lightning.nn.precision import at_least_float32


def perplexity(counts: Tensor) -> Tensor:
    """How many codes, chosen equally often, would be as uncertain: exp(−Σ p log p) for the shares p of the counts.

    Args:
        counts: How often each code was chosen, (…, code); any multiple of it, too.

    Returns:
        (…): 1 where a single code is chosen, the number of codes where all are, equally often; 0 where none was.
    """
    wide = at_least_float32(counts)
    total = wide.sum(-1, keepdim=True)
    shares = wide / total
    entropy = -torch.xlogy(shares, shares).sum(-1)
    return torch.where(total[..., 0] > 0, entropy.exp(), 0.0)


def usage(counts: Tensor) -> Tensor:
    """Part of the codes, of all books together, that were chosen at least once.

    Args:
        counts: How often each code was chosen, (…, code).

    Returns:
        A scalar.
    """
    return (counts > 0).float().mean()
