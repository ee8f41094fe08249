"""How much a dictionary hedges, without the truth: what its rows give up to latents that are added to it."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ae_lightning.nn.precision import at_least_float32

_DRAWS = 50


@torch.no_grad()
def hedging_rate(control: Tensor, extended: Tensor, draws: int = _DRAWS, seed: int = 0) -> Tensor:
    """The part of rows that moves into the span of new latents, less what moves into random directions.

    A dictionary is trained on in two ways: as it is, `control`, and with some more latents, `extended`. Rows that have
    held parts of features without a latent of their own give these up to the new ones. With unit rows, Δ = extended −
    control of the rows that both have, h the mean norm of Δ within the span of the new rows, and b that within the span
    of as many random directions, the rate is (h − b) / (1 − b), at least 0. 0 is none.

    Source: Chanin, Dulka and Garriga-Alonso (2025), "Feature hedging", arXiv 2505.11756, section on its degree.

    Args:
        control: Decoder rows (…, latent, input).
        extended: Decoder rows (…, latent + new, input), of which the first go on from the same as those of control.
        draws: Sets of random directions.
        seed: Of these.

    Returns:
        The rate (…), float64, on the CPU.

    Raises:
        ValueError: There are no new rows, or the shapes do not fit each other.
    """
    before, after = (
        F.normalize(at_least_float32(rows.detach()).cpu().double(), dim=-1) for rows in (control, extended)
    )
    count, new = before.shape[-2], after.shape[-2] - before.shape[-2]
    if new < 1 or before.shape[:-2] != after.shape[:-2] or before.shape[-1] != after.shape[-1]:
        raise ValueError(
            f"rows {tuple(extended.shape)} do not extend rows {tuple(control.shape)}: they need more latents and the "
            "same instances and inputs"
        )
    moved = after[..., :count, :] - before
    generator = torch.Generator().manual_seed(seed)
    shape = (*after.shape[:-2], new, after.shape[-1])
    chance = torch.stack([_within(moved, torch.randn(shape, generator=generator).double()) for _ in range(draws)])
    b = chance.mean(0)
    return ((_within(moved, after[..., count:, :]) - b) / (1 - b)).clamp(min=0)


def _within(moved: Tensor, rows: Tensor) -> Tensor:
    """Mean norm (…) of what lies in the span of rows."""
    _, sizes, basis = torch.linalg.svd(rows, full_matrices=False)
    smallest = sizes.amax(-1, keepdim=True) * max(rows.shape[-2:]) * torch.finfo(rows.dtype).eps
    along = (moved @ basis.mT) * (sizes > smallest).unsqueeze(-2)
    return along.norm(dim=-1).mean(-1)
