"""Training steps of SAELens, dictionary_learning and sparsify, each with the formula that it computes.

Where a library departs from the paper, the case says how, in a sentence, with what the formula would have there.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from formulas import AuxK, Weights
from torch import Tensor

SAMPLES, INPUTS, LATENTS = 16, 8, 24
#: Half the input's width: what all three take for k_aux.
K_AUX = INPUTS // 2
WIDTHS = [6, 12, 24]


def dead(count: int) -> Tensor:
    """The last latents."""
    return torch.arange(LATENTS) >= LATENTS - count


#: Of cases that a library computes in float32 in part: θ (SAELens), AuxK and L0 (dictionary_learning).
FLOAT32 = 1e-6


class Case(NamedTuple):
    """A training step of another library, and what it computes.

    Args:
        peer: Which library.
        kind: Which of its classes, as the peer's script calls it.
        settings: Options of this class; `dead` is how many of the last latents have long been silent.
        formula: Name of the function in `formulas.py`.
        keywords: Its options.
        deviations: For each departure from the paper, the options with which the formula has the paper's way.
        code_by_norm: Whether the peer's codes are multiplied by the decoder's norms.
        tolerance: Of the comparison, relative; larger where the peer computes a part in float32.
    """

    peer: str
    kind: str
    settings: dict[str, Any]
    formula: str
    keywords: dict[str, Any]
    deviations: Mapping[str, dict[str, Any]] = MappingProxyType({})
    code_by_norm: bool = False
    tolerance: float = 1e-10


def aux(count: int, **options: Any) -> AuxK:
    return AuxK(dead(count), K_AUX, **options)


#: SAELens: ‖e - ê‖², its coefficient 1, raw pre-activations.
LENS = {"coefficient": 1.0, "normalizer": "none", "rectified": False, "scaled": True}
LENS_AUXK = {
    "AuxK is not divided by the residual's variance.": {"aux": aux(6, **{**LENS, "normalizer": "residual"})},
    "AuxK has the coefficient 1.": {"aux": aux(6, **{**LENS, "coefficient": 1 / 32})},
    "AuxK takes negative pre-activations.": {"aux": aux(6, **{**LENS, "rectified": True})},
}
#: sparsify: the squared error of the residual over the variance of the data.
SPARSIFY = {"coefficient": 0.25, "normalizer": "data", "scaled": True, "trains_encoder": False}

CASES = {
    "sae_lens_standard": Case(
        "sae_lens", "standard", {"l1_coefficient": 0.3}, "standard", {"penalty": 0.3, "by_norm": True},
    ),
    "sae_lens_gated": Case(
        "sae_lens", "gated", {"l1_coefficient": 0.3}, "gated", {"penalty": 0.3, "by_norm": True, "frozen": False},
        {
            "The auxiliary term trains the decoder.": {"frozen": True},
            "The penalty is weighted by the decoder's norms, which the paper holds at 1.": {"by_norm": False},
        },
    ),
    "sae_lens_topk": Case("sae_lens", "topk", {"k": 3, "rescale_acts_by_decoder_norm": False}, "topk", {"k": 3}),
    "sae_lens_topk_by_norm": Case(
        "sae_lens", "topk", {"k": 3}, "topk", {"k": 3, "by_norm": True},
        {"Latents are compared by what they write, h ‖w‖.": {"by_norm": False}}, code_by_norm=True,
    ),
    "sae_lens_topk_auxk": Case(
        "sae_lens", "topk", {"k": 3, "rescale_acts_by_decoder_norm": False, "dead": 6}, "topk",
        {"k": 3, "aux": aux(6, **LENS)}, LENS_AUXK,
    ),
    "sae_lens_topk_auxk_of_few": Case(
        "sae_lens", "topk", {"k": 3, "dead": 3}, "topk", {"k": 3, "by_norm": True, "aux": aux(3, **LENS)},
        {"AuxK is scaled by dead / k_aux.": {"aux": aux(3, **{**LENS, "scaled": False})}}, code_by_norm=True,
    ),
    "sae_lens_batch_topk": Case(
        "sae_lens", "batch_topk", {"k": 2.6, "rescale_acts_by_decoder_norm": False, "dead": 6}, "batch_topk",
        {"k": 2.6, "aux": aux(6, **LENS)}, LENS_AUXK,
    ),
    "sae_lens_batch_topk_by_norm": Case(
        "sae_lens", "batch_topk", {"k": 2.6}, "batch_topk", {"k": 2.6, "by_norm": True},
        {"Latents are compared by what they write, h ‖w‖.": {"by_norm": False}}, code_by_norm=True,
    ),
    "sae_lens_matryoshka": Case(
        "sae_lens", "matryoshka",
        {"k": 3, "matryoshka_widths": WIDTHS, "rescale_acts_by_decoder_norm": False, "dead": 6},
        "matryoshka", {"k": 3, "widths": WIDTHS, "aux": aux(6, **LENS)}, LENS_AUXK,
    ),
    "sae_lens_matryoshka_by_norm": Case(
        "sae_lens", "matryoshka", {"k": 3, "matryoshka_widths": WIDTHS},
        "matryoshka", {"k": 3, "widths": WIDTHS, "by_norm": True},
        {"Latents are compared by what they write, h ‖w‖.": {"by_norm": False}}, code_by_norm=True,
    ),
    "sae_lens_jumprelu_step": Case(
        "sae_lens", "jumprelu",
        {"l0_coefficient": 0.2, "jumprelu_bandwidth": 0.5, "pre_act_loss_coefficient": 0.1, "dead": 6},
        "jumprelu",
        {"penalty": 0.2, "bandwidth": 0.5, "sparsity": "step", "pre_act": 0.1, "pre_act_of": dead(6)},
        {"The pre-activation loss is of dead latents only.": {"pre_act_of": None}},
        tolerance=FLOAT32,
    ),
    "sae_lens_jumprelu_tanh": Case(
        "sae_lens", "jumprelu",
        {
            "l0_coefficient": 0.2, "jumprelu_bandwidth": 0.5, "jumprelu_sparsity_loss_mode": "tanh",
            "jumprelu_ste_to_input": True,
        },
        "jumprelu", {"penalty": 0.2, "bandwidth": 0.5, "sparsity": "tanh", "to_input": True}, tolerance=FLOAT32,
    ),
    "sae_lens_jumprelu_quadratic": Case(
        "sae_lens", "jumprelu",
        {
            "l0_coefficient": 0.2, "jumprelu_bandwidth": 0.5, "jumprelu_sparsity_loss_mode": "quadratic",
            "target_l0": 4.0, "jumprelu_ste_to_input": True,
        },
        "jumprelu", {"penalty": 0.2, "bandwidth": 0.5, "sparsity": "quadratic", "target": 4.0, "to_input": True},
        tolerance=FLOAT32,
    ),
    "dictionary_learning_standard": Case(
        "dictionary_learning", "standard", {"l1_penalty": 0.3}, "standard", {"penalty": 0.3, "by_norm": False},
    ),
    "dictionary_learning_standard_april": Case(
        "dictionary_learning", "standard_april", {"l1_penalty": 0.3}, "standard", {"penalty": 0.3, "by_norm": True},
    ),
    "dictionary_learning_p_anneal": Case(
        "dictionary_learning", "p_anneal",
        {"initial_sparsity_penalty": 0.3, "p_start": 0.5, "sparsity_function": "Lp^p"},
        "p_annealed", {"penalty": 0.3, "p": 0.5},
    ),
    "dictionary_learning_p_anneal_rooted": Case(
        "dictionary_learning", "p_anneal", {"initial_sparsity_penalty": 0.3, "p_start": 0.5, "sparsity_function": "Lp"},
        "p_annealed", {"penalty": 0.3, "p": 0.5, "rooted": True},
    ),
    "dictionary_learning_gated": Case(
        "dictionary_learning", "gated", {"l1_penalty": 0.3}, "gated", {"penalty": 0.3},
    ),
    "dictionary_learning_topk": Case(
        "dictionary_learning", "topk", {"k": 3, "dead": 6}, "topk", {"k": 3, "aux": aux(6)}, tolerance=FLOAT32,
    ),
    "dictionary_learning_topk_fired": Case(
        "dictionary_learning", "topk", {"k": 3, "dead": 8}, "topk", {"k": 3, "aux": aux(6)},
        {"A latent that fires in the batch is not dead to its AuxK.": {"aux": aux(8)}}, tolerance=FLOAT32,
    ),
    "dictionary_learning_batch_topk": Case(
        "dictionary_learning", "batch_topk", {"k": 3, "dead": 6}, "batch_topk", {"k": 3, "aux": aux(6)},
        tolerance=FLOAT32,
    ),
    "dictionary_learning_matryoshka": Case(
        "dictionary_learning", "matryoshka", {"k": 3, "group_fractions": [0.25, 0.25, 0.5], "dead": 6},
        "matryoshka", {"k": 3, "widths": WIDTHS, "level_weights": [1 / 9] * 3, "aux": aux(6)},
        {
            "Levels are weighted by 1/L and averaged after that.": {"level_weights": [1 / 3] * 3},
            "Levels are not added up.": {"level_weights": None},
        },
        tolerance=FLOAT32,
    ),
    "dictionary_learning_jumprelu": Case(
        "dictionary_learning", "jumprelu", {"sparsity_penalty": 0.2, "bandwidth": 0.5, "target_l0": 4.0}, "jumprelu",
        {
            "penalty": 0.2, "bandwidth": 0.5, "sparsity": "quadratic_of_mean", "target": 4.0, "centered": False,
            "step_of_code": True,
        },
        {
            "The kernel of L0 is laid on codes, of which those below θ are all 0.": {"step_of_code": False},
            "The decoder's bias is not taken off the input.": {"centered": True},
        },
        tolerance=FLOAT32,
    ),
    "sparsify_topk": Case(
        "sparsify", "topk", {"k": 3}, "topk", {"k": 3, "error": "fvu"},
        {"The error is the fraction of variance unexplained.": {"error": "sum"}},
    ),
    "sparsify_groupmax": Case(
        "sparsify", "topk", {"k": 8, "activation": "groupmax"}, "topk",
        {"k": 8, "error": "fvu", "groups": True, "straight": True},
        {"The first latent of a group that is silent gets a gradient as if it fired.": {"straight": False}},
    ),
    "sparsify_topk_auxk": Case(
        "sparsify", "topk", {"k": 3, "dead": 6, "auxk_alpha": 0.25}, "topk",
        {"k": 3, "error": "fvu", "aux": aux(6, **SPARSIFY)},
        {
            "AuxK does not train the encoder.": {"aux": aux(6, **{**SPARSIFY, "trains_encoder": True})},
            "AuxK is divided by the variance of the data.": {"aux": aux(6, **{**SPARSIFY, "normalizer": "residual"})},
        },
    ),
    "sparsify_topk_auxk_of_few": Case(
        "sparsify", "topk", {"k": 3, "dead": 3, "auxk_alpha": 0.25}, "topk",
        {"k": 3, "error": "fvu", "aux": aux(3, **SPARSIFY)},
        {"AuxK is scaled by dead / k_aux.": {"aux": aux(3, **{**SPARSIFY, "scaled": False})}},
    ),
}  # fmt: skip


def given() -> tuple[Weights, Tensor]:
    """Weights and a batch in float64: pre-activations of both signs, rows of many norms, six latents never chosen."""
    random = torch.Generator().manual_seed(3)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    def uniform(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(*shape, generator=random, dtype=torch.float64)

    W_dec = normal(LATENTS, INPUTS) / INPUTS**0.5 * uniform(0.5, 1.5, LATENTS, 1)
    # Encoders so short that others are always larger.
    lengths = torch.where(dead(6), 0.15, 1.0)
    weights = {
        "W_enc": (W_dec.T.contiguous() + 0.1 * normal(INPUTS, LATENTS)) * lengths,
        "b_enc": 0.2 * normal(LATENTS) * lengths,
        "W_dec": W_dec,
        "b_dec": 0.3 * normal(INPUTS),
        # SAELens keeps θ in float32.
        "threshold": uniform(0.05, 0.6, LATENTS).float().double(),
        "b_gate": 0.3 * normal(LATENTS),
        "b_mag": 0.3 * normal(LATENTS),
        "r_mag": 0.3 * normal(LATENTS),
    }
    return weights, normal(SAMPLES, INPUTS)
