"""Compares two computations of one training step, by names: code, reconstruction, loss, its terms and gradients."""

from collections.abc import Callable
from typing import Any

import formulas
import torch
from formulas import Outcome, gradients, norms
from peer_cases import Case, given
from torch import Tensor

#: The weights that formulas read, where they are not those of a plain dictionary.
READ = {
    "gated": ("W_enc", "W_dec", "b_dec", "b_gate", "b_mag", "r_mag"),
    "jumprelu": ("W_enc", "b_enc", "W_dec", "b_dec", "threshold"),
}
DICTIONARY = ("W_enc", "b_enc", "W_dec", "b_dec")


def by_formula(case: Case, dtype: torch.dtype = torch.float64, **changes: Any) -> dict[str, Tensor]:
    """What the case's formula gives, with some of its options changed."""
    return computed(getattr(formulas, case.formula), case, dtype, **changes)


def computed(
    compute: Callable[..., Outcome], case: Case, dtype: torch.dtype = torch.float64, **changes: Any
) -> dict[str, Tensor]:
    """What a function gives that has the arguments of the case's formula, on the weights and the batch of all cases."""
    weights, x = given()
    read = {name: weights[name].to(dtype).requires_grad_() for name in READ.get(case.formula, DICTIONARY)}
    outcome = compute(read, x.to(dtype), **{**case.keywords, **changes})
    found = {
        "code": outcome.code * norms(read) if case.code_by_norm else outcome.code,
        "reconstruction": outcome.reconstruction,
        "loss": outcome.loss,
        **{f"terms/{name}": term for name, term in outcome.terms.items()},
        **{f"gradients/{name}": gradient for name, gradient in gradients(outcome, read).items()},
    }
    return {name: value.detach() for name, value in found.items()}


def unlike(found: dict[str, Tensor], expected: dict[str, Tensor], tolerance: float) -> list[str]:
    """Names of what both have and differs, by more than a fraction of its largest entry or of 1."""
    return [
        name
        for name in sorted(found.keys() & expected.keys())
        if (found[name] - expected[name]).abs().max() > tolerance * max(float(expected[name].abs().max()), 1.0)
    ]
