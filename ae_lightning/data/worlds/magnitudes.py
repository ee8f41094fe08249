"""How large present features are."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

Magnitude = Literal["normal", "folded_normal", "exponential"]
"""How large a present feature is, with N a standard normal number.

`normal`, mean + std N, and absent where that is not above 0, as in SAELens; `folded_normal`, |mean + std N|; or
`exponential`, with that mean. With a std of 0 the first two are constant.
"""


def draw_magnitudes(law: Magnitude, means: Tensor, stds: Tensor, generator: torch.Generator) -> Tensor:
    """Draw a magnitude, at least 0, for each mean and standard deviation, on the generator's device."""
    if law == "exponential":
        return torch.empty_like(means).exponential_(generator=generator).mul_(means)
    normal = torch.randn(means.shape, generator=generator, device=means.device).mul_(stds).add_(means)
    return normal.relu_() if law == "normal" else normal.abs_()


def chance_above_zero(law: Magnitude, means: Tensor, stds: Tensor) -> Tensor:
    """How probably a magnitude is above zero, float64, for each mean and standard deviation."""
    if law != "normal":
        return torch.ones_like(means, dtype=torch.float64)
    return torch.where(stds > 0, torch.special.ndtr(means.double() / stds.double().clamp_min(1e-300)), 1.0)
