"""The ratio estimator beside SciPy's standard error of a mean, a sum by hand, and what drawing again tells."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import sem

from ae_lightning.analysis.ratios import ratio_of_sums


def test_with_equal_denominators_it_is_the_error_of_a_mean():
    values = np.random.default_rng(0).standard_normal(50) + 3
    found = ratio_of_sums(torch.from_numpy(values), torch.ones(50))
    assert found.value == pytest.approx(values.mean(), rel=1e-12)
    assert found.error == pytest.approx(sem(values), rel=1e-12)


def test_by_hand():
    # R = 12/6 = 2; a − R·b = (1, -2, 1), squares 6; √(3/2 · 6) / 6 = 1/2
    found = ratio_of_sums(torch.tensor([3, 2, 7]), torch.tensor([1, 2, 3]))
    assert found == pytest.approx((2.0, 0.5), rel=1e-12)


def test_it_is_the_spread_over_samples_drawn_anew():
    """Losses of tokens are alike within a sequence, and sequences differ in length: a token is no unit of its own."""
    rng = np.random.default_rng(1)

    def draw(count: int = 400) -> tuple[torch.Tensor, torch.Tensor]:
        lengths = rng.integers(1, 60, count)
        levels = rng.normal(2, 0.5, count) + 0.01 * lengths
        return torch.from_numpy(levels * lengths), torch.from_numpy(lengths)

    found = [ratio_of_sums(*draw()) for _ in range(600)]
    spread = np.std([one.value for one in found])
    assert np.mean([one.error for one in found]) == pytest.approx(spread, rel=0.1)  # ± 2.9 % by chance


def test_what_cannot_be_told_is_not_a_number():
    assert math.isnan(ratio_of_sums(torch.tensor([2.0]), torch.tensor([4.0])).error)
    assert ratio_of_sums(torch.tensor([2.0]), torch.tensor([4.0])).value == 0.5
    assert all(map(math.isnan, ratio_of_sums(torch.tensor([1.0, 2.0]), torch.tensor([1.0, -1.0]))))
    assert all(map(math.isnan, ratio_of_sums(torch.empty(0), torch.empty(0))))
