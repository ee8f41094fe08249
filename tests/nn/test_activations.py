import math
from typing import get_args

import pytest
import torch
import torch.nn.functional as F

from ae_lightning.nn.activations import ActivationName, activation, activation_range

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
