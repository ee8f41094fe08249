"""Sparse dictionaries as their papers' equations have them, on plain tensors: the truth that tests compare with.

Rows are samples: x (n, d), W_enc (d, F), b_enc (F,), W_dec (F, d), b_dec (d,); w_i is row i of W_dec. Each function
answers the code z (n, F), the reconstruction x̂ (n, d) and the summands of the loss, every one with its coefficient.
An error is a sum over d and a mean over n, as in the papers.

Sources:
    Bricken et al. 2023, "Towards Monosemanticity"; Conerly et al. 2024, "Circuits Updates, April 2024".
    Rajamanoharan et al. 2024, "Improving Dictionary Learning with Gated Sparse Autoencoders", arXiv 2404.16014.
    Gao et al. 2024, "Scaling and evaluating sparse autoencoders", arXiv 2406.04093.
    Bussmann et al. 2024, "BatchTopK Sparse Autoencoders", arXiv 2412.06410.
    Bussmann et al. 2025, "Learning Multi-Level Features with Matryoshka Sparse Autoencoders", arXiv 2503.17547.
    Rajamanoharan et al. 2024, "Jumping Ahead", arXiv 2407.14435; Conerly et al. 2025, "Circuits Updates, January 2025".
    Karvonen et al. 2024, "Measuring Progress in Dictionary Learning for Language Model Interpretability",
        arXiv 2408.00113.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

Weights = dict[str, Tensor]


class Outcome(NamedTuple):
    """What a training step computes of a batch."""

    code: Tensor
    reconstruction: Tensor
    terms: dict[str, Tensor]

    @property
    def loss(self) -> Tensor:
        return sum(self.terms.values(), start=torch.zeros((), dtype=self.code.dtype))


class AuxK(NamedTuple):
    """Options of the loss that revives latents (Gao et al., A.2).

    `normalizer`: the variance of the residual as OpenAI's code has it, that of the data, or none.
    `rectified`: whether only positive pre-activations take part. `scaled`: whether the loss is multiplied by
    min(dead / k_aux, 1). `trains_encoder`: whether the gradient goes on to the encoder.
    """

    dead: Tensor
    k_aux: int
    coefficient: float = 1 / 32
    normalizer: Literal["residual", "data", "none"] = "residual"
    rectified: bool = True
    scaled: bool = False
    trains_encoder: bool = True


def gradients(outcome: Outcome, weights: Weights) -> Weights:
    """Of the loss by every weight, zero where it has no part."""
    found = torch.autograd.grad(outcome.loss, list(weights.values()), allow_unused=True)
    pairs = zip(weights.items(), found, strict=True)
    return {name: torch.zeros_like(weight) if gradient is None else gradient for (name, weight), gradient in pairs}


def squared_error(x: Tensor, x_hat: Tensor) -> Tensor:
    """Sum over dimensions, mean over samples."""
    return ((x - x_hat) ** 2).sum(dim=1).mean()


def unexplained(x: Tensor, x_hat: Tensor) -> Tensor:
    """FVU: the squared error over the squared distance from the batch's mean, each summed over all."""
    return ((x - x_hat) ** 2).sum() / ((x - x.mean(dim=0)) ** 2).sum()


def norms(w: Weights) -> Tensor:
    """‖w_i‖."""
    return (w["W_dec"] ** 2).sum(dim=1).sqrt()


def decoded(w: Weights, z: Tensor) -> Tensor:
    return z @ w["W_dec"] + w["b_dec"]


def encoded(w: Weights, x: Tensor, centered: bool = True) -> Tensor:
    """Pre-activations h = (x - b_dec) W_enc + b_enc, or x W_enc + b_enc."""
    return (x - w["b_dec"] if centered else x) @ w["W_enc"] + w["b_enc"]


def standard(w: Weights, x: Tensor, *, penalty: float, by_norm: bool) -> Outcome:
    """z = ReLU(h); ‖x - x̂‖² + λ Σ z_i (Bricken et al.), or λ Σ z_i ‖w_i‖ (Conerly et al. 2024)."""
    z = torch.relu(encoded(w, x))
    x_hat = decoded(w, z)
    l1 = (z * norms(w) if by_norm else z).sum(dim=1).mean()
    return Outcome(z, x_hat, {"reconstruction": squared_error(x, x_hat), "l1": penalty * l1})


def p_annealed(
    w: Weights,
    x: Tensor,
    *,
    penalty: float,
    p: float,
    rooted: bool = False,
    by_norm: bool = False,
    shift: float = 0.0,
) -> Outcome:
    """z = ReLU(h); ‖x - x̂‖² + λ Σ z_i^p, or λ (Σ z_i^p)^(1/p) (Karvonen et al.), at one p of the anneal.

    `by_norm` takes z_i ‖w_i‖ for z_i. Shifted it is (z + δ)^p - δ^p, whose slope is finite.
    """
    z = torch.relu(encoded(w, x))
    x_hat = decoded(w, z)
    # 0^p is 0, and has no slope that could be used: latents that are silent get no gradient.
    active = torch.where(z > 0, z * norms(w) if by_norm else z, 1.0)
    powers = torch.where(z > 0, (active + shift) ** p - shift**p, 0.0).sum(dim=1)
    lp = (powers ** (1 / p) if rooted else powers).mean()
    return Outcome(z, x_hat, {"reconstruction": squared_error(x, x_hat), "lp": penalty * lp})


def gated(
    w: Weights,
    x: Tensor,
    *,
    penalty: float,
    by_norm: bool = False,
    norms_learn: bool = True,
    frozen: bool = True,
) -> Outcome:
    """A gate 1[π > 0] and a magnitude share W_enc (Rajamanoharan et al., "Gated").

    ‖x - x̂‖² + λ Σ ReLU(π_i) + ‖x - x̂_frozen(ReLU(π))‖², where x̂_frozen decodes with a copy of the decoder. `by_norm`
    takes ReLU(π_i) ‖w_i‖; `norms_learn` is whether its gradient reaches w_i.
    """
    centered = x - w["b_dec"]
    gate = centered @ w["W_enc"] + w["b_gate"]
    magnitude = centered @ (w["W_enc"] * torch.exp(w["r_mag"])) + w["b_mag"]
    z = (gate > 0).to(x.dtype) * torch.relu(magnitude)
    x_hat = decoded(w, z)
    open_gate = torch.relu(gate)
    lengths = norms(w) if norms_learn else norms(w).detach()
    sparsity = (open_gate * lengths if by_norm else open_gate).sum(dim=1).mean()
    copy = {name: weight.detach() for name, weight in w.items()} if frozen else w
    terms = {
        "reconstruction": squared_error(x, x_hat),
        "l1": penalty * sparsity,
        "auxiliary": squared_error(x, decoded(copy, open_gate)),
    }
    return Outcome(z, x_hat, terms)


def largest(scores: Tensor, k: int) -> Tensor:
    """Whether each of a list of numbers is among the k largest."""
    order = sorted(range(len(scores)), key=scores.tolist().__getitem__, reverse=True)
    chosen = torch.zeros(len(scores), dtype=torch.bool)
    chosen[order[:k]] = True
    return chosen


def largest_of_each_sample(scores: Tensor, k: int) -> Tensor:
    return torch.stack([largest(row, k) for row in scores])


def largest_of_each_group(scores: Tensor, k: int) -> Tensor:
    """The largest of each of k groups of neighbors."""
    rows = []
    for row in scores:
        groups = row.chunk(k)
        assert len(groups) == k
        rows.append(torch.cat([largest(group, 1) for group in groups]))
    return torch.stack(rows)


def auxk(w: Weights, x: Tensor, h: Tensor, x_hat: Tensor, options: AuxK, by_norm: bool = False) -> Tensor:
    """α ‖e - ê‖² / ‖e - ē‖² (Gao et al., A.2): e = x - x̂ held fast, ê decodes the k_aux largest of the dead."""
    number = int(options.dead.sum())
    if number == 0:
        return torch.zeros((), dtype=x.dtype)
    e = (x - x_hat).detach()
    h = h if options.trains_encoder else h.detach()
    scores = h * norms(w) if by_norm else h
    chosen = largest_of_each_sample(scores.masked_fill(~options.dead, float("-inf")), min(options.k_aux, number))
    z = h * chosen
    e_hat = (torch.relu(z) if options.rectified else z) @ w["W_dec"]
    if options.normalizer == "residual":
        error = unexplained(e, e_hat)
    elif options.normalizer == "data":
        error = ((e - e_hat) ** 2).sum() / ((x - x.mean(dim=0)) ** 2).sum()
    else:
        error = squared_error(e, e_hat)
    return options.coefficient * (min(number / options.k_aux, 1.0) if options.scaled else 1.0) * error


def overcomplete(w: Weights, x: Tensor, *, aux: AuxK | None = None) -> Outcome:
    """z = ReLU(x W_enc + b_enc) and ‖x - x̂‖², with AuxK of all that is not explained (Gao et al., A.2)."""
    h = encoded(w, x, centered=False)
    z = torch.relu(h)
    x_hat = decoded(w, z)
    terms = {"reconstruction": squared_error(x, x_hat)}
    if aux is not None:
        terms["auxk"] = auxk(w, x, h, x_hat, aux)
    return Outcome(z, x_hat, terms)


def topk(
    w: Weights,
    x: Tensor,
    *,
    k: int,
    groups: bool = False,
    by_norm: bool = False,
    error: Literal["sum", "fvu"] = "sum",
    straight: bool = False,
    aux: AuxK | None = None,
) -> Outcome:
    """z = ReLU(TopK(h)) of each sample (Gao et al.).

    `by_norm` compares h_i ‖w_i‖; `groups` takes the largest of each of k groups; `straight` takes ReLU first, and hands
    the gradient on to what was chosen even if it is 0.
    """
    h = encoded(w, x)
    scores = h * norms(w) if by_norm else h
    select = largest_of_each_group if groups else largest_of_each_sample
    chosen = select(torch.relu(scores) if straight else scores, k)
    z = torch.relu(h) * chosen
    if straight:
        z = with_slope(z.detach(), chosen.to(h.dtype), h)
    x_hat = decoded(w, z)
    terms = {"reconstruction": (unexplained if error == "fvu" else squared_error)(x, x_hat)}
    if aux is not None:
        terms["auxk"] = auxk(w, x, h, x_hat, aux, by_norm)
    return Outcome(z, x_hat, terms)


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
    """BatchTopK with Σ_m weight_m ‖x - x̂_m‖², x̂_m decoded from the first m latents (Bussmann et al. 2025).

    The last width is the whole; one width is BatchTopK: the ⌊k n⌋ largest of ReLU(h) of a batch (2024).
    """
    h = encoded(w, x)
    scores = torch.relu(h * norms(w) if by_norm else h)
    z = torch.relu(h) * largest(scores.flatten(), int(k * len(x))).reshape(scores.shape)
    terms = {}
    for width, weight in zip(widths, level_weights or [1.0] * len(widths), strict=True):
        prefix = z[:, :width] @ w["W_dec"][:width] + w["b_dec"]
        terms[f"prefix_{width}"] = weight * squared_error(x, prefix)
    terms["reconstruction"] = terms.pop(f"prefix_{widths[-1]}")
    x_hat = decoded(w, z)
    if aux is not None:
        terms["auxk"] = auxk(w, x, h, x_hat, aux, by_norm)
    return Outcome(z, x_hat, terms)


def batch_topk(w: Weights, x: Tensor, *, k: float, by_norm: bool = False, aux: AuxK | None = None) -> Outcome:
    """The ⌊k n⌋ largest of ReLU(h) of the batch's n samples (Bussmann et al. 2024)."""
    return matryoshka(w, x, k=k, widths=[len(w["W_dec"])], by_norm=by_norm, aux=aux)


def with_slope(value: Tensor, slope: Tensor, of: Tensor) -> Tensor:
    """A value whose gradient by a tensor is declared, beside the gradient that it has anyway."""
    return value + slope.detach() * (of - of.detach())


def rectangle(u: Tensor) -> Tensor:
    """The kernel K: 1 within ±½."""
    return ((u > -0.5) & (u < 0.5)).to(u.dtype)


def jump(h: Tensor, threshold: Tensor, bandwidth: float, to_input: bool) -> Tensor:
    """h 1[h > θ] with ∂/∂θ = -(θ/ε) K((h - θ)/ε) (Jumping Ahead); Anthropic adds its negative to ∂/∂h."""
    slope = threshold / bandwidth * rectangle((h - threshold) / bandwidth)
    z = with_slope(h * (h > threshold), -slope, threshold)
    return with_slope(z, slope, h) if to_input else z


def step(h: Tensor, threshold: Tensor, bandwidth: float, to_input: bool) -> Tensor:
    """1[h > θ] with ∂/∂θ = -(1/ε) K((h - θ)/ε) (Jumping Ahead)."""
    slope = rectangle((h - threshold) / bandwidth) / bandwidth
    fires = with_slope((h > threshold).to(h.dtype), -slope, threshold)
    return with_slope(fires, slope, h) if to_input else fires


def jumprelu(
    w: Weights,
    x: Tensor,
    *,
    penalty: float,
    bandwidth: float,
    sparsity: Literal["step", "tanh", "quadratic", "quadratic_of_mean"],
    target: float = 1.0,
    tanh_scale: float = 4.0,
    to_input: bool = False,
    centered: bool = True,
    step_of_code: bool = False,
    pre_act: float = 0.0,
    pre_act_of: Tensor | None = None,
) -> Outcome:
    """z_i = h_i 1[h_i > θ_i], ‖x - x̂‖² and a term that counts latents.

    Args:
        w: With `threshold` θ (F,).
        x: The batch.
        penalty: λ.
        bandwidth: ε, in units of h.
        sparsity: `step`: λ Σ 1[h_i > θ_i] (Jumping Ahead). `tanh`: λ Σ tanh(c z_i ‖w_i‖) (Conerly et al. 2025).
            `quadratic`: λ (2/L) (L0 - L)² of each sample (Gemma Scope 2). `quadratic_of_mean`: λ (mean L0 / L - 1)².
        target: L.
        tanh_scale: c.
        to_input: Whether pseudo-derivatives pass to h as well (Anthropic).
        centered: Whether h reads x - b_dec.
        step_of_code: Whether the step's kernel is laid on z instead of h.
        pre_act: Coefficient of Σ ReLU(θ_i - h_i) ‖w_i‖ (Conerly et al. 2025); zero leaves it out.
        pre_act_of: The latents (F,) that it sums over, all by default.
    """
    h, threshold, target_l0 = encoded(w, x, centered), w["threshold"], target
    z = jump(h, threshold, bandwidth, to_input)
    x_hat = decoded(w, z)
    l0 = step(z.detach() if step_of_code else h, threshold, bandwidth, to_input).sum(dim=1)
    count = {
        "step": l0.mean(),
        "tanh": torch.tanh(tanh_scale * z * norms(w)).sum(dim=1).mean(),
        "quadratic": (2 / target_l0 * (l0 - target_l0) ** 2).mean(),
        "quadratic_of_mean": (l0.mean() / target_l0 - 1) ** 2,
    }
    terms = {"reconstruction": squared_error(x, x_hat), "sparsity": penalty * count[sparsity]}
    if pre_act:
        below = torch.relu(threshold - h) * norms(w)
        terms["pre_act"] = pre_act * (below if pre_act_of is None else below * pre_act_of).sum(dim=1).mean()
    return Outcome(z, x_hat, terms)
