"""The leaderboard of a lab, of rows made by hand."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import pytest
from scipy import stats

from ae_lightning.evaluation.lab.leaderboard import Leaderboard
from ae_lightning.evaluation.lab.sentences import sentences_of

MCC = {
    "good": [0.90, 0.91, 0.89],
    "fair": [0.80, 0.81, 0.795],
    "like it": [0.78, 0.82, 0.80],
    "oracle": [1.0, 1.0, 1.0],
    "random rows": [0.2, 0.21, 0.19],
}


def row(model: str, mcc: float, l0: float = 4, **others: Any) -> dict[str, Any]:
    return {"model": model, "asked_l0": l0, "mcc": mcc, "f1": mcc / 2, "l0": l0 + 0.5, "absorption": None, **others}


def rows(**others: Any) -> dict[int, list[dict[str, Any]]]:
    return {seed: [row(name, values[seed], **others) for name, values in MCC.items()] for seed in range(3)}


@pytest.fixture
def board() -> Leaderboard:
    return Leaderboard(rows())


def test_entries_are_by_l0_and_the_highest_mcc_comes_first(board):
    assert [entry.model for entry in board.entries] == ["oracle", "good", "fair", "like it", "random rows"]
    assert [entry.model for entry in board.trained] == ["good", "fair", "like it"]
    both = Leaderboard({0: [row("a", 0.9, 8), row("a", 0.1, 2), row("b", 0.5, 2)]})
    assert [(entry.asked_l0, entry.model) for entry in both.entries] == [(2, "b"), (2, "a"), (8, "a")]


def test_a_number_that_nobody_has_is_no_column(board):
    assert [measure.name for measure in board.measures] == ["mcc", "f1", "l0"]
    named = Leaderboard({0: [row("a", 0.9, absorption=0.25)], 1: [row("a", 0.8)]})
    assert "absorption" in [measure.name for measure in named.measures]
    assert named.entries[0].values("absorption") == {0: 0.25}


def test_the_table_has_means_and_intervals(board, tmp_path):
    board.write_table(tmp_path / "board.csv")
    with (tmp_path / "board.csv").open(newline="") as file:
        table = {row["model"]: row for row in csv.DictReader(file)}
    assert (table["good"]["kind"], table["oracle"]["kind"], table["good"]["seeds"]) == ("trained", "baseline", "3")
    assert float(table["good"]["mcc"]) == pytest.approx(0.9)
    assert float(table["good"]["mcc_95"]) == pytest.approx(0.01 / math.sqrt(3) * stats.t.ppf(0.975, 2))
    assert float(table["good"]["l0"]) == 4.5


def test_the_json_has_each_seed_and_all_differences(board, tmp_path: Path):
    board.write_json(tmp_path / "board.json", {"world": "w"}, ["A sentence."])
    content = json.loads((tmp_path / "board.json").read_text())
    assert (content["world"], content["sentences"]) == ("w", ["A sentence."])
    good = next(row for row in content["rows"] if row["model"] == "good")
    assert [good["seeds"][seed]["mcc"] for seed in "012"] == MCC["good"]
    assert good["numbers"]["f1"]["mean"] == pytest.approx(0.45)
    found = {(each["one"], each["other"]): each for each in content["differences"]["mcc"]}
    assert found.keys() == {("good", "fair"), ("good", "like it"), ("fair", "like it")}
    p = stats.ttest_rel(MCC["good"], MCC["fair"]).pvalue
    assert found["good", "fair"]["p"] == pytest.approx(p)
    assert found["good", "fair"]["corrected"] == pytest.approx(3 * p)
    assert found["good", "fair"]["is_outside_noise"] is True
    assert found["fair", "like it"]["is_outside_noise"] is False


def test_sentences_on_noise_and_baselines(board):
    mcc, f1, order = sentences_of(board)
    assert mcc == (
        "In MCC at L0 4, paired over 3 seeds, outside noise: good is above like it and fair; within it: fair and like "
        "it (p < 0.05 after Holm's correction for 3 differences)."
    )
    assert f1.startswith("In F1 at L0 4, paired over 3 seeds, outside noise: good is above")
    assert order == "In MCC and F1 the oracle is above every model, and each model above random rows."


def test_a_model_below_random_rows_and_one_beside_the_oracle_are_told():
    worse = {"bad": 0.1, "perfect": 1.0, "oracle": 1.0, "random rows": 0.2}
    board = Leaderboard({0: [row(name, mcc) for name, mcc in worse.items()]})
    assert sentences_of(board) == [
        "One seed tells nothing of noise: name several with --seeds.",
        "In MCC at L0 4 perfect is not below the oracle.",
        "In MCC at L0 4 bad is not above random rows.",
        "In F1 at L0 4 perfect is not below the oracle.",
        "In F1 at L0 4 bad is not above random rows.",
    ]


def test_a_single_model_has_nothing_to_be_compared_with():
    board = Leaderboard({seed: [row("a", 0.5 + seed / 10)] for seed in range(2)})
    assert sentences_of(board) == []
    assert board.differences("mcc") == {4: []}
