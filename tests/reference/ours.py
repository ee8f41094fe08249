"""Our dictionaries as functions like those of `formulas.py`: the same weights, options and answers.

`in_our_way` says which of another library's ways ours do not have.
"""

import inspect
from collections.abc import Callable
from typing import Any, Literal

import formulas
import torch
from formulas import AuxK, Outcome, Weights
from torch import Tensor, nn
from torch.func import functional_call

from ae_lightning.models.base import Autoencoder
from ae_lightning.models.dead_latents import RevivingAutoencoder
from ae_lightning.models.gated_sae import GatedSAE
from ae_lightning.models.jumprelu_sae import JumpReLUSAE
from ae_lightning.models.matryoshka_sae import MatryoshkaSAE
from ae_lightning.models.overcomplete import OvercompleteAutoencoder
from ae_lightning.models.p_anneal_sae import PAnnealSAE
from ae_lightning.models.sparse_dictionary import SparseDictionary
from ae_lightning.models.standard_sae import StandardSAE
from ae_lightning.models.topk_sae import BatchTopKSAE, TopKSAE

#: Of each formula's options, those of which ours have one value only.
FIXED: dict[str, dict[str, Any]] = {
    "topk": {"straight": False},
    "gated": {"frozen": True},
    "jumprelu": {"centered": True, "step_of_code": False},
    # The slope of z^p is infinite at 0: ours is that of a power shifted by this.
    "p_annealed": {"rooted": False, "shift": 1e-4},
}
#: The formulas' names of terms, by ours.
TERMS = {"l0": "sparsity", "pre_activation": "pre_act"}


def in_our_way(formula: str, keywords: dict[str, Any]) -> dict[str, Any]:
    """Options of a formula, with our way in place of the paper's or another library's that ours do not have."""
    has = inspect.signature(getattr(formulas, formula)).parameters
    found = dict(keywords)
    for name, ours in FIXED.get(formula, {}).items():
        if found.get(name, has[name].default) != ours:
            found[name] = ours
    if found.get("sparsity") == "quadratic":  # each sample's own square, in place of that of the mean
        found["sparsity"] = "quadratic_of_mean"
    if formula == "gated" and found.get("by_norm"):
        # The gate's penalty would shrink rows, and no term of the gate makes up for it: their copy is frozen.
        found["norms_learn"] = False
    if "aux" in found:
        found["aux"] = found["aux"]._replace(normalizer="residual", scaled=False, trains_encoder=True, rectified=False)
    return found


class _Loss(nn.Module):
    """A model's loss as a forward pass, so that tensors can take the place of its parameters."""

    def __init__(self, model: Autoencoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Any:
        return self.model.loss(x)


def of_model(model: Autoencoder, w: Weights, x: Tensor) -> Outcome:
    """What a variant's training step computes."""
    model = model.to(x.dtype)
    places = {name.rpartition(".")[2]: f"model.{name}" for name, _ in model.named_parameters()}
    losses, output = functional_call(_Loss(model), {places[name]: weight for name, weight in w.items()}, (x,))
    weights = model.loss_weights
    terms = {TERMS.get(name, name): weights.get(name, 1.0) * term for name, term in losses.items() if name != "loss"}
    torch.testing.assert_close(sum(terms.values()), losses["loss"])
    return Outcome(output.z, output.x_hat, terms)


def _dictionary(kind: Callable[..., SparseDictionary], w: Weights, aux: AuxK | None = None, **options: Any) -> Any:
    """A variant for these weights whose losses are in the data's units, with latents that are long dead for AuxK."""
    if aux is None and kind in (TopKSAE, BatchTopKSAE, MatryoshkaSAE):
        options["auxk_weight"] = 0.0
    return _revived(kind, w, aux, **{"input_scaling": "none", "reconstruction_loss": "mse_sum", **options})


def _revived(kind: Callable[..., RevivingAutoencoder], w: Weights, aux: AuxK | None, **options: Any) -> Any:
    """A variant for these weights, with latents that are long dead for AuxK."""
    latents, width = w["W_dec"].shape
    if aux is None:
        return kind((width,), latents, **options)
    options |= {"auxk_weight": aux.coefficient, "k_aux": aux.k_aux, "auxk_relu": aux.rectified, "dead_after": 1}
    model = kind((width,), latents, **options)
    assert model.silence is not None
    model.silence.silent[aux.dead] = 1
    return model


def overcomplete(w: Weights, x: Tensor, *, aux: AuxK | None = None) -> Outcome:
    return of_model(_revived(OvercompleteAutoencoder, w, aux, reconstruction_loss="mse_sum"), w, x)


def standard(w: Weights, x: Tensor, *, penalty: float, by_norm: bool) -> Outcome:
    return of_model(_dictionary(StandardSAE, w, penalty_weight=penalty, norm_weighted=by_norm), w, x)


def p_annealed(
    w: Weights,
    x: Tensor,
    *,
    penalty: float,
    p: float,
    by_norm: bool = False,
    rooted: Literal[False] = False,
    shift: float = 1e-4,
) -> Outcome:
    return of_model(_dictionary(PAnnealSAE, w, penalty_weight=penalty, p=p, norm_weighted=by_norm), w, x)


def topk(
    w: Weights,
    x: Tensor,
    *,
    k: int,
    groups: bool = False,
    by_norm: bool = False,
    error: Literal["sum", "fvu"] = "sum",
    straight: Literal[False] = False,
    aux: AuxK | None = None,
) -> Outcome:
    loss = "fvu" if error == "fvu" else "mse_sum"
    model = _dictionary(TopKSAE, w, aux, k=k, groups=groups, norm_weighted=by_norm, reconstruction_loss=loss)
    return of_model(model, w, x)


def batch_topk(w: Weights, x: Tensor, *, k: float, by_norm: bool = False, aux: AuxK | None = None) -> Outcome:
    return of_model(_dictionary(BatchTopKSAE, w, aux, k=k, norm_weighted=by_norm), w, x)


def matryoshka(
    w: Weights,
    x: Tensor,
    *,
    k: float,
    widths: list[int],
    level_weights: list[float] | None = None,
    by_norm: bool = False,
    aux: AuxK | None = None,
) -> Outcome:
    options = {"k": k, "prefixes": widths, "prefix_weights": level_weights or [1.0] * len(widths)}
    options |= {"norm_weighted": by_norm}
    return of_model(_dictionary(MatryoshkaSAE, w, aux, **options), w, x)


def gated(
    w: Weights,
    x: Tensor,
    *,
    penalty: float,
    by_norm: bool = False,
    frozen: Literal[True] = True,
    norms_learn: Literal[False] = False,
) -> Outcome:
    return of_model(_dictionary(GatedSAE, w, penalty_weight=penalty, norm_weighted=by_norm), w, x)


def jumprelu(
    w: Weights,
    x: Tensor,
    *,
    penalty: float,
    bandwidth: float,
    sparsity: Literal["step", "tanh", "quadratic_of_mean"],
    target: float = 1.0,
    to_input: bool = False,
    pre_act: float = 0.0,
    pre_act_of: Tensor | None = None,
    centered: Literal[True] = True,
    step_of_code: Literal[False] = False,
) -> Outcome:
    model = _dictionary(
        JumpReLUSAE,
        w,
        penalty_weight=penalty,
        penalty="target" if sparsity == "quadratic_of_mean" else sparsity,
        l0=target,
        bandwidth=bandwidth,
        gradient_to_encoder=to_input,
        preactivation_weight=pre_act,
        dead_after=1,
    )
    if pre_act_of is not None:
        model.silence.silent[pre_act_of] = 1
    return of_model(model, w, x)


#: By the name of the formula.
OURS: dict[str, Callable[..., Outcome]] = {
    "overcomplete": overcomplete,
    "standard": standard,
    "topk": topk,
    "batch_topk": batch_topk,
    "matryoshka": matryoshka,
    "gated": gated,
    "jumprelu": jumprelu,
    "p_annealed": p_annealed,
}
