"""How many of 1,024 known directions each sparse dictionary finds again, with its defaults.

A sample is a sum of 16 of them, on average, in 256 dimensions. Each run has half of the
3,000 steps that are allowed; all together take an hour on a core.
"""

import pytest
from known_directions import CASES, World

pytestmark = [pytest.mark.evidence, pytest.mark.timeout(2 * 3600)]

WORLD = World(features=1024, width=256, active=16, steps=1500)
LEAST = {"topk": 0.95, "batch_topk": 0.95, "matryoshka": 0.95, "jumprelu": 0.95, "gated": 0.95, "standard": 0.8}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", CASES)
def test_known_directions_are_found(name: str, seed: int) -> None:
    found = CASES[name].train(WORLD, seed)
    print(
        f"{name}, seed {seed}: recovered {found.recovered:.1%}, at least {LEAST[name]:.0%} asked for; "
        f"L0 {found.l0:.1f}, FVU {found.fvu:.3f}"
    )
    assert found.recovered >= LEAST[name]
