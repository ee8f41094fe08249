"""What docs/findings.md says holds on the worlds of seed 0, in the fits that its figures are made of."""

from collections.abc import Callable
from pathlib import Path

import pytest
from findings import FINDINGS, ORACLE, Numbers, collected

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

Found = dict[str, list[Numbers]]


@pytest.fixture
def found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Found]:
    """Train a finding, and answer the numbers of its models by the lines of its figure."""
    monkeypatch.setenv("PL_GLOBAL_SEED", "0")  # puts back what Lightning writes its seed into
    return lambda name: {
        line: [rows[0] for rows in points] for line, points in collected(FINDINGS[name], [0], tmp_path).items()
    }


def test_a_narrow_dictionary_mixes_a_feature_with_its_company(found: Callable[[str], Found]) -> None:
    narrow, wide = found("finding_hedging")["BatchTopK"]
    assert narrow["hedging"] > 0.08
    assert wide["hedging"] < 0.7 * narrow["hedging"]


def test_first_latents_that_reconstruct_alone_lower_absorption(found: Callable[[str], Found]) -> None:
    lines = found("finding_absorption")
    plain, matryoshka = lines["BatchTopK"][0], lines["Matryoshka"][0]
    assert plain["absorption"] > 0.4
    assert matryoshka["absorption"] < 0.6 * plain["absorption"]


def test_with_too_small_a_k_the_error_is_below_the_oracles_and_latents_are_wrong(
    found: Callable[[str], Found],
) -> None:
    lines = found("finding_low_k")
    (few, _, _, right), (oracle, *_) = lines["TopK"], lines[ORACLE]
    assert few["fvu"] < 0.95 * oracle["fvu"]
    assert few["f1"] < 0.7 * oracle["f1"]
    assert few["mcc"] < 0.7 < 0.85 < right["mcc"]


def test_a_lower_error_than_the_oracles_is_no_truth(found: Callable[[str], Found]) -> None:
    lines = found("finding_oracle")
    for trained, oracle in zip(lines["TopK"], lines[ORACLE], strict=True):
        assert trained["fvu"] < 0.9 * oracle["fvu"]
        assert trained["mcc"] < 0.93 < oracle["mcc"]


def test_l1_shrinks_and_topk_does_not(found: Callable[[str], Found]) -> None:
    lines = found("finding_shrinkage")
    slopes = [row["shrinkage_slope"] for row in lines["L1"]]
    assert slopes == sorted(slopes, reverse=True)
    assert slopes[0] < 0.93
    assert slopes[-1] < 0.7
    assert lines["TopK"][1]["shrinkage_slope"] > 0.95


def test_latents_die_far_from_the_origin_unless_data_are_centered(found: Callable[[str], Found]) -> None:
    lines = found("finding_centering")
    (at_origin, far), (_, far_centered) = lines["not centered"], lines["centered"]
    assert far["dead"] > 80 > 2 * max(at_origin["dead"], far_centered["dead"])
    assert far_centered["mcc"] > far["mcc"] + 0.1
