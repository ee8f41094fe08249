"""The arithmetic of the benchmark beside other libraries; that it runs is tested in `tests/peers`."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from peer_search import Point, following, fvu_at, points_about
from peer_tables import Claim, Ratio, claims, ratio, table
from peer_world import probabilities, write_world
from torch import nn
from worker import Setup, peak, quality

MIB = 1 << 20


def test_a_ratio_is_of_the_same_round_and_bold_where_it_is_too_much():
    found = ratio([1.0, 9.0, 4.0], [2.0, 10.0, 4.0])
    assert found == Ratio(0.9, 0.5, 1.0)  # that of the medians would be 1
    assert claims([Claim("a / b", found, 0.9), Claim("c / d", ratio([1.26], [1.0]), 1.25)]).splitlines() == [
        "|  | ratio | wanted |",
        "| --- | ---: | ---: |",
        "| a / b | 0.90 (0.50 to 1.00) | ≤ 0.9 |",
        "| c / d | **1.26** | ≤ 1.25 |",
    ]


def test_a_table_has_the_columns_that_a_row_has():
    found = table(
        {"TopK": {"fit": "1", "sparsify": "2"}, "Gated": {"fit": "3"}}, ("fit", "SAELens", "sparsify"), "ms", "–"
    )
    assert found.splitlines()[0] == "| ms | fit | sparsify |"
    assert found.splitlines()[3] == "| Gated | 3 | – |"


def power_law(l0: float) -> float:
    return 0.5 * l0**-0.7


def test_between_two_points_a_power_law_is_met_exactly():
    points = [Point(0.0, l0, power_law(l0)) for l0 in (200, 50, 20, 5)]
    assert fvu_at(points, 32) == pytest.approx(power_law(32))
    assert fvu_at(points, 32, farthest=2) == pytest.approx(power_law(32))
    assert fvu_at(points, 32, farthest=1.5) is None  # 20 is too far below
    assert fvu_at(points[:2], 32) is None  # all are above
    assert fvu_at([*points[:2], Point(1.0, 32.1, 0.125)], 32) == 0.125


@pytest.mark.parametrize("rises", [False, True])
@pytest.mark.parametrize("first", [0.02, 3.0, 900.0])
def test_the_search_brackets_a_target(rises: bool, first: float):
    def l0(coefficient: float) -> float:
        return 1000 / (1 + (1 / coefficient if rises else coefficient))

    points = points_about(32, first, lambda c: (l0(c), power_law(l0(c))), 10, rises)
    assert len(points) < 10
    assert fvu_at(points, 32, farthest=1.25) == pytest.approx(power_law(32), rel=0.02)


def test_the_search_passes_a_coefficient_at_which_all_latents_die_and_gives_up_where_nothing_helps():
    points = points_about(32, 64.0, lambda c: (0.0 if c > 20 else 100 / c, 0.1), 12)
    assert fvu_at(points, 32) == pytest.approx(0.1)
    stuck = points_about(32, 1.0, lambda c: (500.0, 0.1), 5)
    assert len({point.coefficient for point in stuck}) == 5
    assert following(stuck, 32) is not None
    assert fvu_at(stuck, 32) is None


def test_a_penalty_and_a_rate_rise_and_the_rate_falls():
    setup = Setup("standard", 8, 32, 16, steps=100, moves=True)
    assert (setup.rise, setup.fall, setup.penalty_rise) == (5, 20, 30)
    assert [setup.rate_factor(step) for step in (0, 4, 50, 90, 100)] == [0.2, 1.0, 1.0, 0.5, 0.0]
    assert [setup.penalty_factor(step) for step in (0, 15, 30, 99)] == [0.0, 0.5, 1.0, 1.0]
    assert Setup("standard", 8, 32, 16).rate_factor(0) == 1.0


def test_the_mean_leaves_all_variance_unexplained():
    x = torch.randn(100, 8) + 3
    assert quality(lambda part: (part, torch.eye(4)[: len(part)]), x, 4)["fvu"] == 0
    found = quality(lambda part: (x.mean(0).expand_as(part), torch.tensor([[1.0, 0, -2]] * len(part))), x, 30)
    assert found["fvu"] == pytest.approx(1)
    assert found["l0"] == 2


@pytest.mark.skipif(sys.platform != "linux", reason="memory is measured as Linux does it")
def test_a_peak_counts_what_lived_for_a_moment_and_gradients_but_not_what_was_there():
    weight = nn.Parameter(torch.zeros(16 * MIB))  # 64 MiB of float32
    weight.grad = torch.zeros_like(weight)
    with peak([weight]) as found:
        weight.grad = torch.ones_like(weight)
        torch.ones(16 * MIB)
    assert found[0].above / MIB == pytest.approx(128, abs=16)
    assert found[0].total > found[0].above + 64 * MIB


def test_the_world_is_sparse_and_scaled(tmp_path: Path):
    chance = probabilities(64, 8)
    assert chance.sum() == pytest.approx(8)
    assert chance.max() <= 0.5
    assert (np.diff(chance) <= 0).all()
    path = write_world(tmp_path, inputs=16, features=64, active=8, samples=3000, held_out=500)
    x, held_out = np.load(path), np.load(path.with_name("val.npy"))
    assert (x.shape, held_out.shape, x.dtype) == ((3000, 16), (500, 16), np.float32)
    assert np.linalg.norm(x, axis=1).mean() == pytest.approx(math.sqrt(16), rel=1e-3)
    assert abs(x.mean(0)).max() < 0.02
