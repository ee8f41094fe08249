"""How codes that keep k latents are computed with: as tensors, or as indices and values."""

from typing import Literal, TypeGuard

import torch
from torch import nn

from ae_lightning.errors import ConfigError
from ae_lightning.nn.active_latents import ActiveLatents
from ae_lightning.nn.batch_topk import BatchTopK
from ae_lightning.nn.topk import TopK

# Sparse products are faster from so many latents on, and with more than so many for each active one:
# benchmarks/sparse_arithmetic.py.
_FEWEST_LATENTS = 512
_LATENTS_PER_ACTIVE = 16

Arithmetic = Literal["auto", "dense", "sparse"]
"""How codes of which k latents are active are computed with: as tensors with all their zeros, or as indices and values.

`auto` takes what was measured to be faster: on a CPU sparse from 512 latents on, where k is below a sixteenth of them.
"""


def is_faster_sparsely(activation: ActiveLatents) -> bool:
    """Whether sparse products are faster, on a CPU."""
    latents = activation.latent_dim
    return latents >= _FEWEST_LATENTS and activation.expected_k * _LATENTS_PER_ACTIVE < latents


def can_be_sparse(activation: nn.Module) -> TypeGuard[TopK | BatchTopK]:
    """Whether `select` is known to keep what `forward` does, which a subclass may have overridden."""
    return type(activation) in (TopK, BatchTopK)


def checked(arithmetic: Arithmetic, activation: nn.Module) -> Arithmetic:
    """The option, if there is such an arithmetic for codes of this activation.

    Raises:
        ConfigError: There is not.
    """
    if arithmetic not in ("auto", "dense", "sparse"):
        raise ConfigError(f"--model.arithmetic is {arithmetic!r}; it can be auto, dense or sparse")
    if arithmetic == "sparse" and not can_be_sparse(activation):
        raise ConfigError(
            f"--model.arithmetic sparse needs codes that keep k latents, as those of TopKSAE, BatchTopKSAE and "
            f"MatryoshkaSAE; a code by {type(activation).__name__} is dense: take auto or dense"
        )
    return arithmetic


def require_device(arithmetic: Arithmetic, device: torch.device) -> None:
    """Check that what was asked for is computed there.

    Raises:
        ConfigError: Sparse arithmetic was asked for on another device than a CPU.
    """
    if arithmetic == "sparse" and device.type != "cpu":
        raise ConfigError(
            f"--model.arithmetic sparse trains on a CPU alone, but this run is on {device.type}: take auto, or "
            "--trainer.accelerator cpu"
        )
