"""Our dictionaries compute what the papers' equations say."""

import pytest
import torch
from comparing import by_formula, computed, unlike
from ours import OURS, in_our_way
from peer_cases import CASES

TOLERANCE = {torch.float32: 1e-5, torch.float64: 1e-10}


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.formula in OURS])
def test_a_training_step_is_the_papers(name: str, dtype: torch.dtype) -> None:
    """Loss, terms, code, reconstruction and every gradient, of every option that a case has."""
    case = CASES[name]
    options = in_our_way(case.formula, case.keywords)
    found, expected = computed(OURS[case.formula], case, dtype, **options), by_formula(case, dtype, **options)
    assert found.keys() == expected.keys()
    assert unlike(found, expected, TOLERANCE[dtype]) == []
