"""Dictionaries, each with what of it moves beside its weights: small ones, for vectors of a few numbers."""

import functools
from collections.abc import Callable
from typing import Any

import torch

from ae_lightning.models.dead_latents import RevivingAutoencoder
from ae_lightning.models.gated_sae import GatedSAE
from ae_lightning.models.jumprelu_sae import JumpReLUSAE
from ae_lightning.models.matryoshka_sae import MatryoshkaSAE
from ae_lightning.models.overcomplete import OvercompleteAutoencoder
from ae_lightning.models.p_anneal_sae import PAnnealSAE
from ae_lightning.models.standard_sae import StandardSAE
from ae_lightning.models.topk_sae import BatchTopKSAE, TopKSAE

INPUT = 6
LATENTS = 16
#: Samples after which a latent is dead; some are so within the first epoch of 60.
DEAD_AFTER = 24
LOWERED = {"start": 6, "end": 3, "until": 0.5}
AUXK: dict[str, Any] = {"auxk_weight": 0.1, "dead_after": DEAD_AFTER, "k_aux": 4}

Make = Callable[..., RevivingAutoencoder]


def adam(params: Any) -> torch.optim.Optimizer:
    """An optimizer whose steps change something within a few of them."""
    return torch.optim.Adam(params, lr=0.02, fused=True)


def _case(variant: type[RevivingAutoencoder], **settings: Any) -> Make:
    return functools.partial(variant, (INPUT,), **{"latent_dim": LATENTS, "optimizer": adam, **settings})


CASES: dict[str, Make] = {
    "topk": _case(TopKSAE, k=3, **AUXK),
    "topk_k_lowered": _case(TopKSAE, k=LOWERED, instances=2, **AUXK),
    "topk_groups": _case(TopKSAE, k=4, groups=True, norm_weighted=False, tied=True, **AUXK),
    "batch_topk": _case(BatchTopKSAE, k=2.5, momentum=0.8, **AUXK),
    "batch_topk_k_lowered": _case(BatchTopKSAE, k=LOWERED, momentum=0.8, instances=2, **AUXK),
    "matryoshka": _case(MatryoshkaSAE, k=3, prefixes=(4, 8), select="sample", **AUXK),
    "matryoshka_random": _case(MatryoshkaSAE, k=3, prefixes=(4, 8), random_prefixes=3, **AUXK),
    "matryoshka_sparse": _case(MatryoshkaSAE, k=3, prefixes=(4, 8), arithmetic="sparse", **AUXK),
    "topk_sparse_k_lowered": _case(TopKSAE, k=LOWERED, instances=2, arithmetic="sparse", **AUXK),
    "jumprelu": _case(JumpReLUSAE, penalty_weight=0.3, threshold=0.4, target_l0=3, preactivation_weight=0.1, **AUXK),
    "jumprelu_tanh": _case(
        JumpReLUSAE,
        penalty_weight={"start": 0.0, "end": 0.5},
        penalty="tanh",
        gradient_to_encoder=True,
        instances=2,
        input_scaling="whitened",
    ),
    "gated": _case(GatedSAE, penalty_weight={"start": 0.0, "end": 0.5, "until": 0.5}, **AUXK),
    "gated_tied": _case(GatedSAE, penalty_weight=0.3, tied=True, target_l0=3, instances=2),
    "p_anneal": _case(PAnnealSAE, penalty_weight=0.1, **AUXK),
    "standard": _case(
        StandardSAE, penalty_weight=0.1, target_l0=3, norm_weighted=True, input_scaling="standardized", **AUXK
    ),
    "overcomplete": _case(OvercompleteAutoencoder, instances=2, **AUXK),
}


def seeded(make: Make, **settings: Any) -> RevivingAutoencoder:
    """A model of a case, the same each time, of whose latents some fire for nothing."""
    torch.manual_seed(3)
    model = make(**settings)
    with torch.no_grad():
        bias = model.dictionary.b_enc
        if bias is None:
            bias = model.dictionary.activation.b_gate
        bias[..., [1, 6, 11]] = -6.0
    return model
