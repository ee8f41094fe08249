"""What turns pre-activations into a code, where that is more than an elementwise function."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from ae_lightning.errors import ConfigError
from ae_lightning.nn.block_code import BlockCode

Reduce = Callable[[Tensor, str], Tensor]
"""Combines a tensor over all processes by "sum", "mean" or "max"; with one process it gives the tensor back."""


class CodeActivation(nn.Module):
    """Turns pre-activations (…, batch, latent) into codes of the same shape, with thresholds or counts of its own.

    A forward pass changes nothing that is kept. What moves with training moves once for each optimizer step: `observe`
    gathers the evidence of each training batch, and `advance` takes it up when the optimizer has stepped; `forget`
    drops what was gathered where it has not. All that is kept is in `state_dict`.
    """

    #: Whether codes are nowhere negative, and exactly zero where a latent does not fire.
    is_rectified: bool = True
    #: Whether latents are compared by pre-activation × norm of the decoder's row, so that norms have to be given.
    weighted: bool = False

    def forward(self, pre: Tensor, norms: Tensor | None = None) -> Tensor:
        """Codes z.

        Args:
            pre: Pre-activations (…, batch, latent).
            norms: Norms of the decoder's rows (…, latent), where latents are compared by what they write, pre × norm;
                None compares pre-activations as they are. No gradient flows through them.
        """
        raise NotImplementedError

    @property
    def k(self) -> float | None:
        """Active latents of a sample, where they are fixed; None where the data decide."""
        return None

    def scores(self, pre: Tensor) -> Tensor:
        """What decides whether a latent fires, (…, batch, latent): the pre-activations unless overridden."""
        return pre

    def block_code(self) -> BlockCode | None:
        """The same codes of some latents at a time, for one pass; None where there is no such way."""
        return None

    @property
    def latent_axes(self) -> dict[nn.Parameter, int]:
        """Parameters that have one entry for each latent, and the axis of latents, counted from the end."""
        return {}

    @torch.no_grad()
    def reset_latents(self, which: Tensor) -> None:
        """Give the latents (…, latent) that are true the start values of these parameters."""

    @torch.no_grad()
    def scale_latents(self, factor: Tensor) -> None:
        """Adapt to pre-activations that are multiplied by a positive factor (…, latent), so that codes are too.

        Raises:
            ConfigError: There is no such adaptation.
        """
        raise ConfigError(f"decoder norms cannot be folded: a {type(self).__name__} does not say how it follows them")

    @torch.no_grad()
    def observe(self, z: Any, norms: Tensor | None = None) -> None:
        """Gather what a training batch's codes z (…, batch, latent), dense or sparse, tell, without keeping it yet."""

    @torch.no_grad()
    def advance(self, reduce: Reduce) -> None:
        """Take up what was gathered since the last optimizer step, all processes together."""

    def forget(self) -> None:
        """Drop what was gathered since the last optimizer step."""

    def measures(self) -> dict[str, Tensor]:
        """Scalars that tell of the state, by name, each a mean over instances."""
        return {}


def is_rectified(activation: nn.Module) -> bool:
    """Whether codes of this activation are nowhere negative, and exactly zero where a latent does not fire."""
    return activation.is_rectified if isinstance(activation, CodeActivation) else isinstance(activation, nn.ReLU)
