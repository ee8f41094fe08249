"""Sparse dictionaries find again the directions that their data are sums of."""

import pytest
from known_directions import CASES, World

SMALL = World(features=64, width=32, active=2, steps=400)
MIDDLE = World(features=256, width=64, active=4, steps=1000)


@pytest.mark.parametrize("name", CASES)
def test_a_small_dictionary_is_found(name):
    found = CASES[name].train(SMALL, seed=0)
    assert found.recovered >= 0.9, found


@pytest.mark.slow
@pytest.mark.parametrize("name", ["matryoshka", "gated"])
def test_a_larger_dictionary_is_found(name):
    found = CASES[name].train(MIDDLE, seed=0)
    assert found.recovered >= 0.95, found
