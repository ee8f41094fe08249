"""Activations that select, beside what the papers' equations give sample by sample and unit by unit."""

import numpy as np
import pytest
import torch

from ae_lightning.explorer.code import Elementwise, Gated, Threshold, TopK


@pytest.fixture
def sums():
    return torch.randn((40, 12), generator=torch.Generator().manual_seed(0))


def test_the_k_largest_sums_are_kept_where_they_are_above_zero(sums):
    for sample, found in zip(sums.tolist(), TopK(7)(sums).tolist(), strict=True):
        largest = sorted(range(12), key=lambda unit: -sample[unit])[:7]
        assert found == [max(value, 0) if unit in largest else 0 for unit, value in enumerate(sample)]
    active = (TopK(7)(sums) != 0).sum(dim=1)
    assert active.max() == 7
    assert active.min() < 7


def test_the_largest_sum_of_each_group_is_kept_where_it_is_above_zero(sums):
    for sample, found in zip(sums.tolist(), TopK(4, groups=True)(sums).tolist(), strict=True):
        wanted = [0.0] * 12
        for start in (0, 3, 6, 9):
            best = max(range(start, start + 3), key=lambda unit: sample[unit])
            wanted[best] = max(sample[best], 0)
        assert found == wanted


def test_sums_above_a_threshold_are_kept_as_they_are_and_none_below_zero():
    sums = torch.tensor([[0.5, 0.25, 0.3, -0.5, 0.0]])
    assert Threshold(torch.tensor(0.3))(sums).tolist() == [[0.5, 0, 0, 0, 0]]
    own = torch.tensor([0.6, 0.2, 0.0, -1.0, -1.0])
    assert Threshold(own)(sums)[0].numpy().tolist() == np.float32([0, 0.25, 0.3, 0, 0]).tolist()


def test_a_gate_decides_and_the_magnitude_is_scaled_and_shifted():
    sums = torch.tensor([[1.0, 1.0, -0.25, 2.0, 3.0]])
    gated = Gated(
        gate_bias=torch.tensor([-1.0, -0.5, 0.5, 0.0, 0.0]),
        factor=torch.tensor([1.0, 2.0, 4.0, 0.5, 1.0]),
        magnitude_bias=torch.tensor([9.0, 0.25, 3.0, -1.5, -0.5]),
    )
    # closed; 1·2 + 0.25; −0.25·4 + 3 though the sum is below zero; 2·0.5 − 1.5 is below zero; 3 − 0.5
    assert gated(sums).tolist() == [[0, 2.25, 2.0, 0, 2.5]]


def test_they_say_what_they_are():
    each = [TopK(3), Threshold(torch.tensor(1.0)), Gated(*torch.ones(3, 2))]
    assert [(one.name, list(one.parameters)) for one in each] == [
        ("topk", ["k", "groups"]),
        ("threshold", ["threshold"]),
        ("gated", ["gate_bias", "factor", "magnitude_bias"]),
    ]
    assert all(one.selects and one.is_rectified for one in each)
    elementwise = Elementwise("soft_threshold", 0.5)
    assert (elementwise.selects, elementwise.is_rectified, elementwise.parameters) == (False, True, {})
    assert elementwise(torch.tensor([2.0, -0.25])).tolist() == [1.5, 0]
