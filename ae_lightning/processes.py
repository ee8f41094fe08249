"""Which of several processes this one is, before any of them has met the others."""

import os

# In the order of Lightning: of torchrun, of its own launcher, of SLURM.
_NUMBERS = ("RANK", "LOCAL_RANK", "SLURM_PROCID")


def process_number() -> int:
    """Number of this process in a run of several, as its launcher tells it: 0 for the first, or the only one."""
    told = (os.environ.get(name, "") for name in _NUMBERS)
    return next((int(number) for number in told if number.isdecimal()), 0)
