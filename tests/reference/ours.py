"""Our dictionaries as functions like those of `formulas.py`: the same weights, options and answers.

`in_our_way` says which of another library's ways ours do not have.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
from formulas import AuxK, Outcome, Weights
from torch import Tensor, nn
from torch.func import functional_call

from ae_lightning.losses import auxk as losses_auxk
from ae_lightning.losses import jumprelu as losses_jumprelu
from ae_lightning.losses.reconstruction import ReconstructionLossName, reconstruction_loss
from ae_lightning.losses.sparsity import l1
from ae_lightning.models.base import Autoencoder
from ae_lightning.models.standard_sae import StandardSAE
from ae_lightning.nn.code_activation import CodeActivation
from ae_lightning.nn.dictionary import Dictionary
from ae_lightning.nn.gated import Gated
from ae_lightning.nn.jumprelu import JumpReLU
from ae_lightning.nn.topk import BatchTopK, TopK

#: Of each formula's options, those of which ours have one value only.
FIXED: dict[str, dict[str, Any]] = {
    "topk": {"straight": False},
    "gated": {"frozen": True},
    "jumprelu": {"centered": True, "step_of_code": False},
}


def in_our_way(formula: str, keywords: dict[str, Any]) -> dict[str, Any]:
    """Options of a formula, with our way in place of another library's that ours do not have."""
    fixed = FIXED.get(formula, {})
    found = {name: fixed.get(name, value) for name, value in keywords.items()}
    if found.get("sparsity") == "quadratic":  # each sample's own square, in place of that of the mean
        found["sparsity"] = "quadratic_of_mean"
    if "aux" in found:
        found["aux"] = found["aux"]._replace(normalizer="residual", scaled=False, trains_encoder=True)
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
    terms = {name: weights.get(name, 1.0) * term for name, term in losses.items() if name != "loss"}
    torch.testing.assert_close(sum(terms.values()), losses["loss"])
    return Outcome(output.z, output.x_hat, terms)


class _Pass(nn.Module):
    """A dictionary's forward pass: pre-activations, code, reconstruction, and the norms of its rows."""

    def __init__(self, dictionary: Dictionary, by_norm: bool) -> None:
        super().__init__()
        self.dictionary = dictionary
        self.by_norm = by_norm

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        pre = self.dictionary.pre_activations(x)
        norms = self.dictionary.decoder_vectors.norm(dim=-1)
        z = self.dictionary.activation(pre, norms if self.by_norm else None)
        return pre, z, self.dictionary.decode(z), norms


def _pass(w: Weights, x: Tensor, activation: CodeActivation, by_norm: bool = False) -> Any:
    latents, width = w["W_dec"].shape
    dictionary = Dictionary(width, latents, activation, centered=True, encoder_bias="b_enc" in w).to(x.dtype)
    places = {name.rpartition(".")[2]: f"dictionary.{name}" for name, _ in dictionary.named_parameters()}
    return functional_call(_Pass(dictionary, by_norm), {places[name]: weight for name, weight in w.items()}, (x,))


def _error(x: Tensor, x_hat: Tensor, name: ReconstructionLossName = "mse_sum") -> Tensor:
    return reconstruction_loss(name, x_hat, x)


def _auxk(w: Weights, x: Tensor, pre: Tensor, x_hat: Tensor, aux: AuxK | None) -> dict[str, Tensor]:
    if aux is None:
        return {}
    value = losses_auxk.auxk(pre, aux.dead, x - x_hat, w["W_dec"], aux.k_aux, aux.rectified)
    return {"auxk": aux.coefficient * value}


def standard(w: Weights, x: Tensor, *, penalty: float, by_norm: bool) -> Outcome:
    latents, width = w["W_dec"].shape
    model = StandardSAE((width,), latents, penalty, norm_weighted=by_norm, reconstruction_loss="mse_sum")
    return of_model(model, w, x)


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
    activation = TopK(k, len(w["W_dec"]), groups=groups, weighted=by_norm)
    pre, z, x_hat, _ = _pass(w, x, activation, by_norm)
    reconstruction = _error(x, x_hat, "fvu" if error == "fvu" else "mse_sum")
    return Outcome(z, x_hat, {"reconstruction": reconstruction, **_auxk(w, x, pre, x_hat, aux)})


def batch_topk(w: Weights, x: Tensor, *, k: float, by_norm: bool = False, aux: AuxK | None = None) -> Outcome:
    pre, z, x_hat, _ = _pass(w, x, BatchTopK(k, len(w["W_dec"]), weighted=by_norm), by_norm)
    return Outcome(z, x_hat, {"reconstruction": _error(x, x_hat), **_auxk(w, x, pre, x_hat, aux)})


def gated(w: Weights, x: Tensor, *, penalty: float, by_norm: bool = False, frozen: Literal[True] = True) -> Outcome:
    activation = Gated(len(w["W_dec"]))
    pre, z, x_hat, norms = _pass(w, x, activation)
    gate = torch.relu(pre + w["b_gate"])
    auxiliary = gate @ w["W_dec"].detach() + w["b_dec"].detach()
    terms = {
        "reconstruction": _error(x, x_hat),
        "l1": penalty * l1(gate * norms if by_norm else gate, "sum", rectified=True),
        "auxiliary": _error(x, auxiliary),
    }
    return Outcome(z, x_hat, terms)


def jumprelu(
    w: Weights,
    x: Tensor,
    *,
    penalty: float,
    bandwidth: float,
    sparsity: Literal["step", "tanh", "quadratic_of_mean"],
    target: float = 1.0,
    tanh_scale: float = 4.0,
    to_input: bool = False,
    pre_act: float = 0.0,
    pre_act_of: Tensor | None = None,
    centered: Literal[True] = True,
    step_of_code: Literal[False] = False,
) -> Outcome:
    threshold = w["threshold"]
    pre, z, x_hat, norms = _pass(w, x, JumpReLU(len(threshold), bandwidth=bandwidth, to_pre=to_input))
    l0 = losses_jumprelu.l0_step(pre, threshold, bandwidth, to_input)
    count = {
        "step": l0,
        "tanh": losses_jumprelu.l0_tanh(z, norms, tanh_scale),
        "quadratic_of_mean": losses_jumprelu.l0_target(l0, target),
    }
    terms = {"reconstruction": _error(x, x_hat), "sparsity": penalty * count[sparsity]}
    if pre_act and pre_act_of is not None:
        terms["pre_act"] = pre_act * losses_jumprelu.pre_activation_loss(pre, threshold, pre_act_of, norms)
    return Outcome(z, x_hat, terms)


#: By the name of the formula.
OURS: dict[str, Callable[..., Outcome]] = {
    "standard": standard,
    "topk": topk,
    "batch_topk": batch_topk,
    "gated": gated,
    "jumprelu": jumprelu,
}
