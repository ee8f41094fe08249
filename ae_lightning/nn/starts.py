"""Starts of a dictionary from a random sample of the data.

Each gives decoder rows of norm 1; `reading` makes an encoder of them. All draws come from a generator on the CPU, so
that they are the same on every device.
"""

import torch
from torch import Tensor

from ae_lightning.errors import ConfigError
from ae_lightning.nn.centering import centered, principal_directions
from ae_lightning.nn.precision import wide_dtype


def sample_rows(samples: Tensor, latent_dim: int, generator: torch.Generator, blend: float = 0.8) -> Tensor:
    """Decoder rows that point to samples, seen from their mean: `blend` of that, and 1 − blend of a random one.

    No sample is taken twice before each was taken once. One that lies at the mean has no direction: its row is random.

    Source: datapoint initialization of OSU-NLP-Group/saev, which blends so, without the norm.

    Args:
        samples: A random sample (n, input) of the data, or (instances, n, input); in scaled units if the input is
            scaled.
        latent_dim: Number of rows.
        generator: What draws.
        blend: Part of the sample's direction, from 0 to 1.

    Returns:
        Rows (…, latent, input) of norm 1.

    Raises:
        ConfigError: `blend` lies outside.
    """
    if not 0 <= blend <= 1:
        raise ConfigError(f"a start from samples blends {blend} of each; it must be from 0 to 1")
    *lead, count, width = samples.shape
    rounds = -(-latent_dim // count)
    order = torch.rand(*lead, rounds, count, generator=generator).argsort(-1).flatten(-2)[..., :latent_dim]
    rows = centered(samples.to("cpu", torch.float64), -2)[1]
    chosen = rows.gather(-2, order.unsqueeze(-1).expand(*lead, latent_dim, width))
    drawn = torch.randn(*lead, latent_dim, width, generator=generator, dtype=torch.float64)
    return _rows_like(samples, blend * _unit(chosen) + (1 - blend) * _unit(drawn), otherwise=drawn)


def subspace_rows(
    samples: Tensor, latent_dim: int, generator: torch.Generator, directions: int | float = 0.99
) -> Tensor:
    """Decoder rows of random direction within the active subspace: the span of the leading principal directions.

    Rows outside it would read what the data hardly have, and die.

    Source: arXiv 2508.16929.

    Args:
        samples: A random sample (n, input) of the data, or (instances, n, input); in scaled units if the input is
            scaled.
        latent_dim: Number of rows.
        generator: What draws.
        directions: How many principal directions span it: a whole number of them, or, below 1, as few as hold that part
            of the variance.

    Returns:
        Rows (…, latent, input) of norm 1.

    Raises:
        ConfigError: There are not as many directions, or the samples do not vary.
    """
    principal = principal_directions(samples.cpu())
    total = principal.variances.sum(-1, keepdim=True)
    if not bool((total > 0).all()):
        raise ConfigError("a start in the active subspace needs samples that are finite and vary, but these do not")
    width = samples.shape[-1]
    if 0 < directions < 1:
        before = principal.variances.cumsum(-1) - principal.variances
        spans = before < directions * total
    elif directions in range(1, width + 1):
        spans = torch.arange(width) < directions
    else:
        raise ConfigError(
            f"a start in the active subspace has {directions} directions; it must be a whole number from 1 to {width}, "
            "or a part of the variance above 0 and below 1"
        )
    lead = samples.shape[:-2]
    drawn = torch.randn(*lead, latent_dim, width, generator=generator, dtype=torch.float64)
    rows = (drawn * spans.unsqueeze(-2)) @ principal.directions
    return _rows_like(samples, rows, otherwise=rows)


def reading(rows: Tensor) -> Tensor:
    """The encoder (…, input, latent) that reads what rows (…, latent, input) write: a copy, never a view of them."""
    return rows.detach().mT.clone(memory_format=torch.contiguous_format)


def _unit(rows: Tensor) -> Tensor:
    """Rows of norm 1, but for those of zeros."""
    norms = rows.norm(dim=-1, keepdim=True)
    return rows / torch.where(norms > 0, norms, 1)


def _rows_like(samples: Tensor, rows: Tensor, otherwise: Tensor) -> Tensor:
    """Rows of norm 1 beside the samples, in float32 or wider; `otherwise` stands in for rows of zeros."""
    rows = _unit(torch.where((rows == 0).all(-1, keepdim=True), otherwise, rows))
    return rows.to(samples.device, torch.promote_types(samples.dtype, wide_dtype()))
