"""The seed of a run, and generators whose streams follow from several numbers."""

import os

import numpy as np
import torch


def run_seed() -> int:
    """The seed of the run, as `seed_everything` left it for all processes."""
    return int(os.environ.get("PL_GLOBAL_SEED", 0))


def seeded_generator(*seeds: int, device: torch.device | str = "cpu") -> torch.Generator:
    """A generator whose stream depends on all the numbers and their order, and not on any global state.

    Zeros at the end do not count: (3, 0) is (3,).
    """
    # Adding the numbers instead would make run 1 repeat run 0 one epoch late.
    mixed = np.random.SeedSequence(seeds).generate_state(1, np.uint64)
    return torch.Generator(device).manual_seed(int(mixed[0]))
