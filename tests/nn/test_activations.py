import math
from typing import get_args

import pytest
import torch
import torch.nn.functional as F

from ae_lightning.nn.activations import ActivationName, activation, activation_range, latent_activation

NAMES = get_args(ActivationName)
FUNCTIONS = {
    "relu": F.relu,
    "leaky_relu": F.leaky_relu,
    "elu": F.elu,
    "gelu": F.gelu,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "none": lambda x: x,
}


@pytest.mark.parametrize("name", NAMES)
def test_it_is_the_function_of_that_name(name):
    x = torch.linspace(-4, 4, 101)
    torch.testing.assert_close(activation(name)(x), FUNCTIONS[name](x), rtol=0, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_values_fill_the_range_and_do_not_leave_it(name):
    y = FUNCTIONS[name](torch.linspace(-1e4, 1e4, 2_000_001))
    low, high = activation_range(name)
    assert low <= float(y.min())
    assert float(y.max()) <= high
    # The bounds are tight, and an unbounded side goes on and on.
    assert float(y.min()) < low + 0.01 if math.isfinite(low) else float(y.min()) <= -99
    assert float(y.max()) > high - 0.01 if math.isfinite(high) else float(y.max()) >= 9999


def test_each_call_makes_a_module_of_its_own():
    assert activation("relu") is not activation("relu")


def test_an_unknown_name_is_refused_with_those_that_are_known():
    with pytest.raises(ValueError, match=r"unknown activation 'swish'; known are relu, .*none"):
        activation("swish")  # type: ignore[arg-type]


Z = torch.tensor([-2.0, -0.5, -0.2, 0.0, 0.3, 0.5, 1.0])


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("soft_threshold", [-1.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.5]),
        ("hard_threshold", [-2.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0]),
        ("relu", [0.0, 0.0, 0.0, 0.0, 0.3, 0.5, 1.0]),
    ],
)
def test_values_by_hand_with_a_threshold_of_a_half(name, expected):
    assert latent_activation(name, 0.5)(Z).tolist() == pytest.approx(expected)


@pytest.mark.parametrize("name", ["soft_threshold", "hard_threshold"])
def test_the_gradient_is_one_where_something_passes_and_zero_elsewhere(name):
    z = Z.clone().requires_grad_()
    latent_activation(name, 0.5)(z).sum().backward()
    assert z.grad.tolist() == [1, 0, 0, 0, 0, 0, 1]


@pytest.mark.parametrize("name", ["soft_threshold", "hard_threshold"])
def test_a_threshold_of_zero_lets_everything_pass(name):
    assert torch.equal(latent_activation(name, 0.0)(Z), Z)


def test_the_soft_threshold_solves_the_problem_that_it_is_named_for():
    """It is the y that minimizes (y − z)²/2 + t|y|, here found by trying."""
    grid = torch.linspace(-4, 4, 80_001, dtype=torch.float64)
    for z in (-3.0, -0.4, 0.7, 1.9):
        best = grid[((grid - z) ** 2 / 2 + 0.7 * grid.abs()).argmin()]
        assert float(latent_activation("soft_threshold", 0.7)(torch.tensor(z))) == pytest.approx(float(best), abs=1e-4)


def test_an_unknown_name_is_refused():
    with pytest.raises(ValueError, match="unknown activation 'firm_threshold'"):
        latent_activation("firm_threshold", 0.1)
