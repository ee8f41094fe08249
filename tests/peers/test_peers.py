"""What other libraries compute of a training step is a formula that is written from the papers.

Each library runs in a process and an environment of its own (`make peers`), on weights and a batch that it is given.
"""

import json
from collections.abc import Callable
from pathlib import Path

import formulas
import pytest
import torch
from comparing import by_formula, computed, unlike
from ours import OURS, in_our_way
from peer_cases import CASES, dead, given
from safetensors.torch import load_file, save_file
from torch import Tensor

pytestmark = pytest.mark.slow

DEVIATIONS = [(name, deviation) for name, case in CASES.items() for deviation in case.deviations]
#: Where ours go the peer's way in everything.
ALIKE = [
    name
    for name, case in CASES.items()
    if case.formula in OURS and in_our_way(case.formula, case.keywords) == case.keywords
]


@pytest.fixture(scope="module")
def answers(
    made_once: Callable[[str, Callable[[Path], object]], Path], run_peer: Callable[[str, Path], None]
) -> dict[str, dict[str, Tensor]]:
    """What every case's library computes, by the name of the case."""

    def ask(folder: Path) -> None:
        weights, x = given()
        for peer in sorted({case.peer for case in CASES.values()}):
            asked = folder / peer
            asked.mkdir()
            save_file({**weights, "x": x}, asked / "given.safetensors")
            cases = {name: {"kind": case.kind, **case.settings} for name, case in CASES.items() if case.peer == peer}
            (asked / "cases.json").write_text(json.dumps(cases), encoding="utf-8")
            run_peer(peer, asked)

    folder = made_once("peers", ask)
    return {name: load_file(folder / case.peer / f"{name}.safetensors") for name, case in CASES.items()}


def test_the_dead_are_chosen_by_none_and_some_would_be_rectified() -> None:
    weights, x = given()
    for outcome in (formulas.topk(weights, x, k=3), formulas.batch_topk(weights, x, k=3, by_norm=True)):
        assert not outcome.code[:, dead(6)].any()
        assert outcome.code[:, dead(8) & ~dead(6)].any()
    h = formulas.encoded(weights, x)[:, dead(6)]
    assert (h > 0).any()
    assert (h < 0).any()


@pytest.mark.parametrize("name", CASES)
def test_a_peer_computes_the_formula(name: str, answers: dict[str, dict[str, Tensor]]) -> None:
    case, found = CASES[name], answers[name]
    expected = by_formula(case)
    assert {key for key in expected if not key.startswith("terms/")} <= found.keys()  # they log few of their terms
    assert not any(found[key] for key in found.keys() - expected.keys() if key.startswith("terms/"))
    assert unlike(found, expected, case.tolerance) == []


@pytest.mark.parametrize(("name", "deviation"), DEVIATIONS)
def test_where_a_peer_departs_from_the_paper(name: str, deviation: str, answers: dict[str, dict[str, Tensor]]) -> None:
    case = CASES[name]
    assert unlike(answers[name], by_formula(case, **case.deviations[deviation]), 1e-3), deviation


@pytest.mark.parametrize("name", ALIKE)
def test_ours_compute_what_a_peer_does(name: str, answers: dict[str, dict[str, Tensor]]) -> None:
    case = CASES[name]
    found = computed(OURS[case.formula], case)
    assert {key for key in found if not key.startswith("terms/")} <= answers[name].keys()
    assert unlike(found, answers[name], case.tolerance) == []


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.formula in ("batch_topk", "matryoshka")])
def test_thresholds_for_inference(name: str, answers: dict[str, dict[str, Tensor]]) -> None:
    """The smallest of a batch's codes, of which SAELens takes up a hundredth, starting at 0."""
    code = by_formula(CASES[name])["code"]
    expected = code[code > 0].min() * (0.01 if CASES[name].peer == "sae_lens" else 1.0)
    torch.testing.assert_close(answers[name]["running_threshold"].double(), expected, rtol=1e-6, atol=0)


def test_the_threshold_of_topk_is_a_mean_over_samples(answers: dict[str, dict[str, Tensor]]) -> None:
    name = "dictionary_learning_topk"
    code = by_formula(CASES[name])["code"]
    smallest = torch.stack([row[row > 0].min() for row in code])
    torch.testing.assert_close(answers[name]["running_threshold"].double(), smallest.mean(), rtol=1e-6, atol=0)
