"""What samplers are called, without what they need to draw."""

import difflib

from ae_lightning.errors import ConfigError

SAMPLERS = {
    "prior": "the model's own prior",
    "normal": "a normal with the mean and covariance of the training codes",
    "gmm": "a mixture of Gaussians fitted to training codes",
    "empirical": "each latent, or each index of a discrete code, as in training codes and apart from the others",
}
"""Names of samplers, and what each draws from."""

COMPONENTS = 10
"""Gaussians in a mixture, unless another number is asked for."""

MEASURED = 5000
"""How many samples are generated to be measured, unless another number is asked for."""


def check_sampler(name: str) -> None:
    """Raise a ConfigError unless there is a sampler of this name."""
    if name not in SAMPLERS:
        near = difflib.get_close_matches(name, SAMPLERS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(SAMPLERS)}"
        raise ConfigError(f"there is no sampler {name}; {hint}")
