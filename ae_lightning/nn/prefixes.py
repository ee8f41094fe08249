"""Widths of the nested prefixes of a Matryoshka code."""

import math
from collections.abc import Sequence

import torch

from ae_lightning.errors import ConfigError


def prefix_widths(prefixes: Sequence[float], latent_dim: int) -> list[int]:
    """Widths in rising order, the last of which is latent_dim.

    Args:
        prefixes: Widths, to which latent_dim is added if it is not the last; or, where all are below 1, the fractions
            of the latents that each adds. A width is rounded to the nearest whole number.
        latent_dim: Number of latents.

    Raises:
        ConfigError: Widths do not rise or exceed latent_dim, fractions do not sum to 1, or a prefix would be empty.
    """
    if prefixes and all(0 < part < 1 for part in prefixes):
        if not math.isclose(total := math.fsum(prefixes), 1, abs_tol=1e-6):
            raise ConfigError(f"--model.prefixes are fractions that sum to {total:g}; they must sum to 1")
        sums = [math.fsum(prefixes[: number + 1]) for number in range(len(prefixes))]
        widths = [round(part * latent_dim) for part in sums]
    else:
        if any(part != int(part) for part in prefixes):
            raise ConfigError(
                f"--model.prefixes is {list(prefixes)}; it must be whole widths, or fractions below 1 that sum to 1"
            )
        widths = [int(part) for part in prefixes]
        widths += [latent_dim] if not widths or widths[-1] != latent_dim else []
    if not all(a < b for a, b in zip([0, *widths], widths, strict=False)):
        raise ConfigError(
            f"--model.prefixes has the widths {widths}; they must rise, from at least 1 to the {latent_dim} latents"
        )
    return widths


def random_widths(count: int, latent_dim: int, power: float = 0.5) -> list[int]:
    """Different widths below latent_dim, drawn at random, and latent_dim itself, in rising order.

    Narrow ones are likelier: without those already drawn, width m has the probability of a Pareto law, m^(−1 − power),
    drawn from torch's global random numbers, so that a resumed run draws on.

    Args:
        count: How many to draw.
        latent_dim: Number of latents.
        power: Of the law; 0.5 after saev's implementation of Nabeshima (2024).
    """
    weights = torch.arange(1, latent_dim, dtype=torch.float64).pow(-1 - power)
    drawn = torch.multinomial(weights, count) + 1
    return [*sorted(drawn.tolist()), latent_dim]
